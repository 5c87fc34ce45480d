"""What all row-sparse optimizers do with the gradient of a table."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.optimizers import dense_part

FEW_ROWS = 16_384


class RowSparse:
    """Lets an optimizer update only those rows of a table that a batch has looked up.

    A lookup's gradient names rows (`tf.IndexedSlices`), the same row once for each time
    it was looked up. These are summed; then `step` says how the rows change, and with
    them the same rows of the optimizer's slots, and no others: the cost of a step does
    not grow with the table. A table of at most `FEW_ROWS` is cheaper to go through as a
    whole, to the same effect. Where a gradient is dense, the Keras optimizer's own
    update is used.

    What would touch every row in every step is for the other variables alone: with
    `use_ema` they have averages, which `fit` validates and leaves in the model beside
    the tables' rows as they are; with `gradient_accumulation_steps` they are updated by
    the mean gradient of so many batches, the tables by each batch's. Decay of weights
    is refused; `l2` stands in for it: l2 / 2 times the square of each row that the
    batch has looked up is added to the loss.

    Stands before the Keras optimizer among the bases of a class.
    """

    def __init__(self, learning_rate, l2=0.0, **kwargs):
        if kwargs.get("weight_decay"):
            raise ValueError(
                f"{type(self).__name__} updates only the rows that a batch looks up, "
                "but weight_decay would change every row; use l2 instead. Received: "
                f"weight_decay={kwargs['weight_decay']!r}."
            )
        if kwargs.get("loss_scale_factor") is not None:
            raise ValueError(
                f"{type(self).__name__} has no loss_scale_factor, by which Keras "
                "divides dense gradients only. Under mixed_float16 a model's `compile` "
                "puts tfmtl.optimizers.LossScale around it. Received: "
                f"loss_scale_factor={kwargs['loss_scale_factor']!r}."
            )
        _errors.check_number("l2", l2)
        if not isinstance(kwargs.get("use_ema", False), bool):
            raise ValueError(
                f"use_ema must be true or false. Received: {kwargs['use_ema']!r}."
            )
        for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            if kwargs.get(name) is not None:
                _errors.check_positive(name, kwargs[name])
        for name, value in kwargs.items():
            if isinstance(value, str) and name != "name":
                raise ValueError(f"{name} must be a number. Received: {value!r}.")
        super().__init__(learning_rate, **kwargs)
        self.l2 = l2

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer="zeros"
    ):
        """Creates a slot of a variable, or none for a table; Keras calls this."""
        if name in dense_part.SLOTS and dense_part.is_table(reference_variable):
            return None
        if hasattr(reference_variable, "slot"):
            return self.add_sharded_slot(reference_variable, name, initializer)
        return super().add_variable_from_reference(
            reference_variable, name, initializer
        )

    def add_sharded_slot(self, table, name, initializer, width=None):
        """Creates a slot of a sharded table: each replica has it of its own rows."""
        path = table.path.replace("/", "_")
        made = table.slot(f"{path}_{name}", initializer, width)
        self._track_variable(made)
        return made

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # As Keras does, but that a replica has its rows' gradients from all of them.
        summed, others = [], []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if hasattr(variable, "slot"):
                summed.append((variable, (gradient, learning_rate)))
            else:
                others.append((gradient, variable))
        if others:
            grads, variables = zip(*others, strict=True)
            super()._backend_update_step(grads, variables, learning_rate)

        def update(variable, gradient, rate):
            self.update_step(gradient, variable, rate)

        if summed:
            dense_part.on_all_replicas(self, update, summed)

    def _backend_apply_gradients(self, grads, trainable_variables):
        # As Keras does, but for tables.
        if not (self.use_ema or self.gradient_accumulation_steps):
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        at_once, later = [], []
        for pair in zip(grads, trainable_variables, strict=True):
            waits = self.gradient_accumulation_steps
            waits = waits and not dense_part.is_table(pair[1])
            (later if waits else at_once).append(pair)
        if at_once:
            grads, variables = zip(*at_once, strict=True)
            grads = self._clip_gradients(list(grads))
            self._backend_update_step(grads, variables, self.learning_rate)
        if later:
            dense_part.accumulate(self, *zip(*later, strict=True))
        if self.use_ema:
            dense_part.update_averages(self)

    def finalize_variable_values(self, var_list):
        """Gives the weights their averages, if there are any; Keras calls this."""
        if self.use_ema:
            dense_part.take_averages(self, var_list)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; Keras calls this."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rate = tf.cast(learning_rate, variable.dtype)
        changing = [variable, *(slot for slot, _ in self.starts(variable))]
        if variable.shape[0] <= FEW_ROWS:
            values, touched = sum_by_row(gradient, variable.shape[0])
            old = [tf.convert_to_tensor(each) for each in changing]
        else:
            gradient = sum_duplicates(gradient)
            values, rows = gradient.values, gradient.indices
            old = [tf.gather(each, rows) for each in changing]
        values = tf.cast(values, variable.dtype)
        if self.l2:
            values += self.l2 * old[0]
        new = self.step(values, rate, *old)
        for each, before, after in zip(changing, old, new, strict=True):
            if variable.shape[0] <= FEW_ROWS:
                each.assign(tf.where(touched, after, before))
            else:
                set_rows(each, rows, after)

    def updates(self, variable):
        """Returns the number of updates that a variable has had."""
        if self.gradient_accumulation_steps:
            place = self._get_variable_index(variable)
            if self._accumulated_gradients[place] is None:
                return self._iterations
        return self.iterations

    def slot(self, slots, variable):
        """Returns the slot, such as a momentum, that belongs to a variable."""
        # Never the Keras variable itself: that reads, and so copies, all its rows.
        return slots[self._get_variable_index(variable)].value

    def starts(self, variable):
        """Returns the slots of a variable, each with the number that it starts from."""
        return []

    def reset_rows(self, variable, rows):
        """Gives rows a fresh start: what the optimizer knows of them is forgotten.

        For rows of a table that went to another id, which must not inherit momentum
        or learning rate. `tfmtl.MultiTaskModel` sees to it in `fit`.

        Args:
            variable: The table, one of the variables the optimizer was built with.
            rows: Integer tensor (n,), each row once.
        """
        for slot, start in self.starts(variable):
            fresh = tf.fill((tf.size(rows), slot.shape[1]), start)
            set_rows(slot, rows, tf.cast(fresh, slot.dtype))

    def _clip_gradients(self, grads):
        # As Keras does, but norms are those of summed rows.
        if self.clipnorm or self.clipvalue or self.global_clipnorm:
            grads = [
                sum_duplicates(g) if isinstance(g, tf.IndexedSlices) else g
                for g in grads
            ]
        if self.clipnorm:
            return [
                g if g is None else tf.clip_by_norm(g, self.clipnorm) for g in grads
            ]
        if self.clipvalue:
            limit = self.clipvalue
            return [
                g if g is None else tf.clip_by_value(g, -limit, limit) for g in grads
            ]
        if self.global_clipnorm:
            return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]
        return grads

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "l2": self.l2}


def optimizer_of(optimizer, variable):
    """Returns the optimizer by which another, such as that of `split`, updates it."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if of_variable := getattr(optimizer, "_optimizer_map", None):  # MultiOptimizer
        optimizer = of_variable(variable)
    return optimizer


def sum_duplicates(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Returns the same gradient with every row named once."""
    rows, position = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def sum_by_row(gradient: tf.IndexedSlices, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the dense gradient, and which rows it names, (rows, 1) booleans."""
    values = tf.math.unsorted_segment_sum(gradient.values, gradient.indices, rows)
    ones = tf.ones_like(gradient.indices)
    named = tf.math.unsorted_segment_sum(ones, gradient.indices, rows) > 0
    return values, named[:, tf.newaxis]


def set_rows(variable, rows, values):
    """Gives rows of a variable new values."""
    variable.scatter_update(tf.IndexedSlices(values, rows))
