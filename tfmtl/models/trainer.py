"""How a multi-task model learns: losses, training step and metrics."""

import contextlib
import functools
import inspect

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfmtl import _errors, inputs, optimizers
from tfmtl.ids import as_integers
from tfmtl.layers.embedding.table_rows import rows_of_table
from tfmtl.models.sharding import check_training
from tfmtl.optimizers.dense_part import averages
from tfmtl.optimizers.row_sparse import FEW_ROWS, RowSparse, optimizer_of
from tfmtl.sample_space import completion, labels_and_masks, seen, weigh
from tfmtl.tasks import check_loss_groups
from tfmtl.training import (
    Fixed,
    LossWeighting,
    ValidateAverages,
    WeightingEpochs,
    weighting,
)
from tfmtl.training.unscaled import warn_if_unscaled
from tfmtl.training.workers import replica_share, replica_shares, sum_over_replicas

_FIXED = Fixed()


class MultiTaskTrainer(keras.Model):
    """What `MultiTaskModel` does in `fit` and `evaluate`.

    The loss is sum_k weight_k L_k, PLE's eq. 8; see `tfmtl.Task` for L_k.

    Keras 3.15 runs `MirroredStrategy`, but two of its steps do not know that the
    replicas may live in several processes (`MultiWorkerMirroredStrategy`); here they
    are replaced. Make, compile and load the model in the strategy's scope.

    Args:
        features: List of features.
        tasks: List of `Task`.
        name: String.
    """

    loss_weighting = _FIXED  # until `compile` says otherwise
    # Whether a call returns what `Task.activate` does: in training, and in evaluation.
    _with_logits = False

    def __init__(self, features, tasks, name=None):
        # Autocasting would make a float16 of an id or a number before it is read.
        super().__init__(name=name, autocast=False)
        self.features = list(features)
        self.tasks = list(tasks)
        check_loss_groups(self.tasks, self.features)
        self.task_losses = {
            task.name: keras.metrics.Mean(name=f"{task.name}_loss") for task in tasks
        }
        self.task_metrics = {
            task.name: [spec.metric(task.name, features) for spec in task.metric_specs]
            for task in tasks
        }

    def compile(
        self,
        optimizer="lazy_adam",
        loss_weighting="fixed",
        jit_compile=False,
        **kwargs,
    ):
        """Configures training; without arguments: `LazyAdam`, learning rate 1e-3.

        Args:
            optimizer: String, one of `tfmtl.optimizers.names()` or of Keras's, or a
                `keras.optimizers.Optimizer`.
            loss_weighting: A `tfmtl.training.LossWeighting`, or its name, one of
                `tfmtl.training.weightings()`. Defaults to "fixed", `Task.weight`.
            jit_compile: Boolean. Whether XLA compiles a training step: the whole of it
                where no table has more than 16,384 rows, else all but lookups in
                tables and their updates. Defaults to False.
            **kwargs: Passed to `keras.Model.compile`. Losses and metrics belong to the
                tasks, so `loss`, `loss_weights` and `metrics` are refused.
        """
        for key, place in {
            "loss": "A loss belongs to its task: Task(..., loss=...).",
            "loss_weights": "A weight belongs to its task: Task(..., weight=...).",
            "metrics": "Metrics belong to their task: Task(..., metrics=...).",
            "weighted_metrics": "Metrics belong to their task: Task(..., metrics=...).",
        }.items():
            if kwargs.get(key) is not None:
                raise ValueError(f"{place} Received: {key}={kwargs[key]!r}.")
        if isinstance(loss_weighting, str):
            loss_weighting = weighting(loss_weighting)
        if not isinstance(loss_weighting, LossWeighting):
            raise ValueError(
                "loss_weighting must be a name or a tfmtl.training.LossWeighting. "
                f"Received: {loss_weighting!r}."
            )
        optimizer = _optimizer(optimizer)
        check_training(self, optimizer, loss_weighting)
        if loss_weighting is not self.loss_weighting:
            loss_weighting.start(self.tasks, super().trainable_weights)
            # Not as a layer of the model, whose weights are what is served. It is saved
            # all the same, and learnt by way of `trainable_weights`.
            object.__setattr__(self, "loss_weighting", loss_weighting)
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        # As Keras's own, which it replaces, it is not tracked with the weights.
        object.__setattr__(self, "_loss_tracker", _BatchLoss(name="loss"))
        if type(self.optimizer) is keras.optimizers.LossScaleOptimizer:
            config = self.optimizer.get_config()
            config["inner_optimizer"] = self.optimizer.inner_optimizer
            self.optimizer = optimizers.LossScale(**config)
        texts = [f.name for f in self.features if f.dtype == "string"]
        if jit_compile is True and texts:
            raise ValueError(
                "XLA cannot read strings. Received: jit_compile=True and a vocabulary "
                f"of strings of {texts}."
            )
        # Not by Keras: XLA would copy large tables, see `train_step`.
        self._jit = jit_compile is True and not self.run_eagerly
        self.optimizer.build(self.trainable_weights)
        self.embedding.on_replaced = self._reset_rows

    def _reset_rows(self, table, rows):
        """Lets a row-sparse optimizer forget rows of a table that have new owners."""
        optimizer = optimizer_of(self.optimizer, table)
        if isinstance(optimizer, RowSparse):
            optimizer.reset_rows(table, rows)

    def get_compile_config(self):
        """Returns the arguments of `compile`."""
        config = super().get_compile_config()
        if config:
            config["jit_compile"] = self._jit
            config["loss_weighting"] = keras.saving.serialize_keras_object(
                self.loss_weighting
            )
        return config

    def compile_from_config(self, config):
        """Compiles a loaded model as it was; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def training_scope(self, x, y, sample_weight=None):
        """Returns the context in which a training step calls the model.

        For an architecture whose forward pass must know the batch's labels, such as
        DEPHN. Whoever writes a training step of their own enters it.
        """
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def evaluation_scope(self):
        """The context in which an evaluation step calls the model.

        Predictions hold what losses read beside them, such as logits.
        """
        self._with_logits = True
        try:
            yield
        finally:
            self._with_logits = False

    @property
    def trainable_weights(self):
        """What the optimizer learns: the layers' weights, the loss weighting's."""
        return [*super().trainable_weights, *self.loss_weighting.trainable_weights]

    def fit(self, *args, **kwargs):
        """Trains, as `keras.Model.fit`; a loss weighting is told of every epoch.

        If the optimizer averages weights (`use_ema`), it is the averages that are
        validated, and that the model has in the end.

        Features are a dict {name: column} or a table (pandas', polars', an Arrow
        table), or a dataset of dicts. A column is an array, list or tensor; what is
        masked, None or NaN is missing; a sequence's lists may differ in length, of
        longer ones the last values count. Labels are a dict or table with the columns
        that the tasks name; if left out, they are taken from `x`. `sample_weight` may
        be a dict {task: column}, those left out weigh 1, and `class_weight` is a dict
        {task: {class: weight}}.

        Calibrations are forgotten: of another model's predictions, they would only
        distort the validation. Call `calibrate` afterwards.
        """
        self.reset_calibrations()
        given = self._given(super().fit, args, kwargs)
        inputs.warn_without_labels(given["y"], self.tasks)
        if isinstance(given["x"], tf.data.Dataset):
            given.setdefault("shuffle", False)  # else Keras warns that it does not
        validation = given.get("validation_data")
        if isinstance(validation, tuple | list):
            given["validation_data"] = self._arrays(*validation)
        elif inputs.columns_of(validation) is not None:
            given["validation_data"] = self._arrays(validation)
        callbacks = given.get("callbacks")
        self._set_modes(callbacks)
        own = [] if isinstance(self.loss_weighting, Fixed) else [WeightingEpochs()]
        if averages(self.optimizer):
            own.append(ValidateAverages())
        if isinstance(callbacks, keras.callbacks.CallbackList):
            for callback in own:
                callback.set_model(self)
            callbacks.callbacks[:0] = own
        elif own:
            given["callbacks"] = [*own, *keras.tree.flatten(callbacks or [])]
        return super().fit(**given)

    def _set_modes(self, callbacks):
        """Tells callbacks with mode="auto" whether more of what they monitor is better.

        Keras itself knows it only of metrics that `compile` was given.
        """
        modes = {f"{task.name}_loss": "min" for task in self.tasks}
        for metric in keras.tree.flatten(self.task_metrics):
            modes[metric.name] = metric.mode
        for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks)):
            if getattr(callback, "mode", None) == "auto":
                # "val_click_auc/tab=1" -> "click_auc/tab"
                monitor = callback.monitor.removeprefix("val_").partition("=")[0]
                callback.mode = modes.get(monitor) or "auto"

    def reset_calibrations(self):
        """Lets the model predict again what it has learnt, see `calibrate`."""
        for layer in self.calibrations.values():
            layer.reset()

    def evaluate(self, *args, **kwargs):
        """Measures losses and metrics, as `keras.Model.evaluate`; data as in `fit`."""
        return super().evaluate(**self._given(super().evaluate, args, kwargs))

    def predict(self, x, *args, **kwargs):
        """Returns {task: (rows, 1)}, as `keras.Model.predict`; data as in `fit`."""
        x = inputs.read_features(x, self.features, self.tasks)
        if isinstance(x, dict) and not len(next(iter(x.values()))):
            names = [name for task in self.tasks for name in task.outputs]
            return {name: np.zeros((0, 1), "float32") for name in names}
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """Trains by one batch, as `keras.Model.train_on_batch`; data as in `fit`."""
        given = self._given(super().train_on_batch, args, kwargs)
        return super().train_on_batch(**given)

    def test_on_batch(self, *args, **kwargs):
        """Measures one batch, as `keras.Model.test_on_batch`; data as in `fit`."""
        given = self._given(super().test_on_batch, args, kwargs)
        return super().test_on_batch(**given)

    def predict_on_batch(self, x):
        """Returns {task: (rows, 1)} of one batch; data as in `fit`."""
        x = inputs.read_features(x, self.features, self.tasks)
        return super().predict_on_batch(x)

    def _given(self, method, args, kwargs):
        """Returns the arguments of a call by name, with data as Keras takes them."""
        given = inspect.signature(method).bind(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        data = [given.pop(name, None) for name in ("x", "y", "sample_weight")]
        data = self._arrays(*data, given.pop("class_weight", None))
        return given | dict(zip(("x", "y", "sample_weight"), data, strict=False))

    def _arrays(self, x, y=None, sample_weight=None, class_weight=None):
        """Returns (x, y, sample_weight) as arrays; of a dataset as they are."""
        if y is None and (columns := inputs.columns_of(x)) is not None:
            labels = {task.label for task in self.tasks}
            y = {name: columns[name] for name in labels if name in columns} or None
        inputs.warn_of_order(x, y)
        x = inputs.read_features(x, self.features, self.tasks)
        if not isinstance(x, dict):
            if class_weight is not None:
                raise ValueError(
                    "class_weight needs labels as arrays. Give a dataset the weights "
                    "of rows as its third element."
                )
            return x, y, sample_weight
        y = inputs.read_labels(y, self.tasks)
        weights = inputs.read_weights(sample_weight, class_weight, y, self.tasks)
        inputs.check_rows(x, y, weights)
        return x, y, weights

    def _batches(self, data):
        """Returns a table, or a tuple as `fit` takes its parts, as batches."""
        if inputs.columns_of(data) is not None:
            data = (data,)
        if not isinstance(data, tuple):
            return data
        arrays = tuple(part for part in self._arrays(*data) if part is not None)
        return tf.data.Dataset.from_tensor_slices(arrays).batch(4096)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the weighted sum of the tasks' losses, plus `compute_other_loss`.

        In training as the loss weighting has it; else sum_k weight_k L_k, so that
        epochs can be compared.
        """
        losses, rows = self.compute_task_losses(x, y, y_pred, sample_weight)
        weighting = self.loss_weighting if training else _FIXED
        shares = replica_shares(rows)
        of_all = {name: loss * shares[name] for name, loss in losses.items()}
        total = weighting.total(self.tasks, of_all, rows)
        if training:
            weighting.update(losses, rows)
        return total + self.compute_other_loss(x, y, y_pred, sample_weight)

    def compute_task_losses(self, x, y, y_pred, sample_weight=None):
        """Returns what `task_loss_values` does, and adds it to the epoch's losses."""
        losses, weights = self.task_loss_values(x, y, y_pred, sample_weight)
        for name, loss in losses.items():
            self.task_losses[name].update_state(loss, weights[name])
        return losses, weights

    def task_loss_values(self, x, y, y_pred, sample_weight=None):
        """Returns {task: L_k} and {task: the sum of its rows' weights}, scalars."""
        losses, weights = {}, {}
        rows = self.loss_rows(x, y, y_pred, sample_weight)
        for task in self.tasks:
            label, prediction, weight = rows[task.name]
            groups = {name: self._ids(name, x) for name in task.loss_groups}
            logits = y_pred[task.name][:, 1:]
            loss = task.loss_value(label, prediction, weight, groups, logits)
            losses[task.name], weights[task.name] = loss, ops.sum(weight)
        return losses, weights

    def compute_other_loss(self, x, y, y_pred, sample_weight=None):
        """Returns what belongs to no one task: the losses that layers have added."""
        return replica_share() * ops.sum(ops.stack([*self.losses, 0.0]))

    def train_step(self, data):
        """Runs a training step; XLA compiles it if `compile` was told so.

        Before the first one it warns of numbers that are not scaled.
        """
        steps = ops.convert_to_tensor(self.optimizer.iterations)
        warn_if_unscaled(data[0], self.features, steps)
        if hasattr(self.loss_weighting, "train_step"):
            return self.loss_weighting.train_step(self, data)
        return self.learn(data)

    @property
    def uses_xla(self):
        """Whether XLA compiles a training step; not one of several replicas'."""
        return self._jit and replica_share() == 1

    def learn(self, data):
        """Runs a training step on the loss as the loss weighting has it."""
        if not self.uses_xla:
            return super().train_step(data)
        tables = self.embedding.trainable_weights
        # Made anew in every trace: it may capture tensors of the outer graph.
        compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
        if self.embedding.supports_jit and all(w.shape[0] <= FEW_ROWS for w in tables):
            return compiled(super().train_step)(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        in_tables = {id(weight) for weight in tables}
        others = [w for w in self.trainable_weights if id(w) not in in_tables]

        def differentiate(vectors, x, y, sample_weight):
            with tf.GradientTape() as tape:
                tape.watch(vectors)
                y_pred = self.above(vectors, x, training=True)
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
                rows = tf.shape(next(iter(y_pred.values())))[0]
                self._loss_tracker.update_state(loss, sample_weight=rows)
                loss = self.optimizer.scale_loss(loss)
            self.compute_metrics(x, y, y_pred, sample_weight)
            return tape.gradient(loss, (vectors, [w.value for w in others]))

        with tf.GradientTape() as tape:
            vectors = self.embedding(x)  # {feature: (B, dim)}
        towards_vectors, gradients = compiled(differentiate)(
            vectors, x, y, sample_weight
        )
        gradients += tape.gradient(vectors, [w.value for w in tables], towards_vectors)
        self.optimizer.apply(gradients, others + tables)
        return self.get_metrics_result()

    def test_step(self, data):
        """Runs an evaluation step of the model."""
        with self.evaluation_scope():
            return super().test_step(data)

    def loss_rows(self, x, y, y_pred, sample_weight=None):
        """Returns {task: (label, prediction, weight)}, each (batch,), for the loss."""
        rows = {
            name: (label, y_pred[name][:, 0], weight)
            for name, (label, weight) in self._rows(x, y, sample_weight, True).items()
        }
        for task in self.tasks:
            label, prediction, weight = rows[task.name]
            if task.duration is not None:
                y = self._labels(y)
                label = completion(task, label, y, x)
                prediction = completion(task, prediction, y, x)
            if task.elapsed is not None:
                prediction = seen(task, label, prediction, self._labels(y), x)
            rows[task.name] = label, prediction, weight
        return rows

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates each task's metrics with the rows in its sample space."""
        rows = self._rows(x, y, sample_weight)
        for task in self.tasks:
            metrics = self.task_metrics[task.name]
            for spec, metric in zip(task.metric_specs, metrics, strict=True):
                label, weight = rows[task.name]
                ids = {}
                if spec.domain:
                    domain = self._feature(spec.domain)
                    ids["domain"] = rows_of_table(x[spec.domain], domain)
                if spec.group:
                    # Id 0, missing or unknown, is many users and not one.
                    ids["group"] = self._ids(spec.group, x)
                    weight = ops.where(ids["group"] != 0, weight, 0.0)
                found = y_pred[task.name]
                predictions = found[:, 1:] if task.classes else found[:, :1]
                metric.update_state(label, predictions, weight, **ids)
        return self.get_metrics_result()

    def _feature(self, name):
        return next(feature for feature in self.features if feature.name == name)

    def _ids(self, name, x):
        """Returns a feature's ids, (batch,), by which rows are grouped."""
        feature = self._feature(name)
        ids = tf.convert_to_tensor(x[feature.name])
        if feature.vocabulary is not None:
            ids = rows_of_table(ids, feature)
        return ops.reshape(as_integers(ids, feature.name), (-1,))

    def _rows(self, x, y, sample_weight, soft=False):
        """Returns {task: (label, weight)}; rows outside the sample space weigh 0.

        If `soft`, they weigh `Task.outside`.
        """
        rows = labels_and_masks(self.tasks, self._labels(y), x, soft)
        if sample_weight is not None:
            for task in self.tasks:
                label, mask = rows[task.name]
                weight = sample_weight
                if isinstance(weight, dict):  # Keras spreads one weight over all labels
                    weight = weight.get(task.label, weight.get(task.name, 1.0))
                weight = ops.reshape(ops.cast(weight, "float32"), (-1,))
                rows[task.name] = (label, weigh(mask, weight, task))
        return rows

    def _labels(self, y):
        """Returns the labels as a dict; a single task's may come bare."""
        if isinstance(y, dict):
            return y
        if len(self.tasks) > 1 or y is None:
            labels = [task.label for task in self.tasks]
            raise ValueError(
                f"Labels must be a dict with the keys {labels}. Received: "
                f"{type(y).__name__}."
            )
        return {self.tasks[0].label: y}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: the model has its weights from the start.

        Keras's own averages a batch over the workers to learn its shape, which fails
        for a dict of features.
        """

    def get_metrics_result(self):
        """Returns {metric: scalar}, or for one of several replicas {metric: (1,)}.

        Keras averages the replicas' results over their first axis, for progress bars
        and callbacks of batches. An epoch's result is that of all rows.
        """
        results = super().get_metrics_result()
        if replica_share() == 1 or tf.distribute.in_cross_replica_context():
            return results
        return {name: ops.reshape(value, (1,)) for name, value in results.items()}


class _BatchLoss(keras.metrics.Mean):
    """The mean of the batches' losses, each by its rows.

    Of several replicas, a batch's loss is the sum of what each says. So all of them say
    it with one weight, however the rows of a batch are shared out.
    """

    def update_state(self, values, sample_weight=None):
        """Adds what a replica says of a batch; its rows are the weight."""
        (rows,) = sum_over_replicas([ops.cast(sample_weight, "float32")])
        super().update_state(values, rows)


def _optimizer(given):
    """Returns the optimizer that `compile` was given, or the name of."""
    if given in optimizers.names():
        return optimizers.get(given)
    try:
        found = keras.optimizers.get(given)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(
            "optimizer must be a keras.optimizers.Optimizer, or its name. Received: "
            f"{given!r}.{_errors.nearest(given, optimizers.names())}"
        )
    return found
