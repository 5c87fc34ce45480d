"""Balancing the tasks' gradients: one forward pass, one backward pass a task."""

import keras
import tensorflow as tf

from tfmtl.training.balancing.loss_weighting import LossWeighting


class GradientBalancing(LossWeighting):
    """Weighs the tasks' gradients with regard to the parameters that they share.

        g(theta) = sum_k w_k(theta) g_k(theta),    g_k = gradient of L_k

    A parameter is shared if the losses of several tasks reach it: embeddings, shared
    experts and bottoms, and what an architecture hands from task to task. What only one
    task reaches, such as its tower and gate, gets weight_k g_k (and the strategy's
    weight, where it is one on the loss). Losses that belong to no task (L2, AITM's
    calibrator) add their gradient as it is.

    Strategies see the gradients through their inner products alone, so that nothing the
    size of the parameters is kept or solved for. The gradient of an embedding table
    stays `tf.IndexedSlices` and is never made dense: the rows of all tasks are summed
    over equal ids, which makes the inner products those of the whole tables and leaves
    one row an id to the optimizer.

    A task without rows in a batch has no gradient there. It takes part in no
    comparison, and its state is left as it is; so are all states in a step whose
    gradients overflow, as happens under float16.

    The cost is a backward pass a task, through the shared part, and the sums above.
    Under `tf.distribute` each replica balances the gradients of its own rows.

    `fit` logs the mean of w_k over the shared parameters and the epoch's steps.
    """

    # Whether w_k weighs the loss, and so the task's own parameters too.
    on_loss = False

    def start(self, tasks, variables):
        """Creates the state."""
        super().start(tasks, variables)
        shape = (2, len(tasks))  # sum of w_k, and steps, of this epoch
        self.applied = self.add_state("applied", shape, replicas="sum")

    def balance(self, products, losses, seen):
        """Returns w_k of every parameter, `Task.weight` included.

        Args:
            products: Tensor of shape (variables, tasks, tasks). The inner products of
                the tasks' gradients; 0 for variables that are not shared.
            losses: Tensor of shape (tasks,). L_k.
            seen: Boolean tensor of shape (tasks,). Whether the task has rows.

        Returns:
            Tensor of shape (variables, tasks), or (tasks,) if equal for all.
        """
        raise NotImplementedError

    def multipliers(self):
        """Returns 1 for every task: what the loss is weighed by."""
        return tf.ones(len(self.tasks))

    def begin_epoch(self, epoch):
        """Starts the mean weights anew."""
        self.applied.assign(tf.zeros_like(self.applied))

    def report(self) -> dict[str, float]:
        """Returns {task: mean of w_k over the steps of this epoch with its rows}."""
        sums, steps = self.applied.numpy()
        return {
            task.name: float(total / count) if count else task.weight
            for task, total, count in zip(self.tasks, sums, steps, strict=True)
        }

    def train_step(self, model, data):
        """Runs a training step of the model; returns its metrics."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = model.optimizer.scale_loss
        with tf.GradientTape(persistent=True) as tape:
            y_pred = model(x, training=True)
            losses, rows = model.compute_task_losses(x, y, y_pred, sample_weight)
            other = model.compute_other_loss(x, y, y_pred, sample_weight)
            scaled = [scale(losses[task.name]) for task in self.tasks]
            scaled_other = scale(other)
        variables = model.trainable_weights
        by_task = [tape.gradient(loss, variables) for loss in scaled]
        others = tape.gradient(scaled_other, variables)
        del tape
        for metric in model.metrics:
            if metric.name == "loss":
                total = other + self.total(self.tasks, losses, rows)
                batch = tf.shape(keras.tree.flatten(x)[0])[0]
                metric.update_state(total, sample_weight=batch)
        gradients = self.combine(
            list(zip(*by_task, strict=True)),
            tf.stack([losses[task.name] for task in self.tasks]),
            tf.stack([rows[task.name] for task in self.tasks]),
            tf.cast(scale(1.0), "float32"),
        )
        gradients = [add(a, b) for a, b in zip(gradients, others, strict=True)]
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return model.compute_metrics(x, y, y_pred, sample_weight)

    def combine(self, gradients, losses, rows, scale=1.0):
        """Returns one gradient a variable.

        Args:
            gradients: List [variables] of lists [tasks] of gradients, each a tensor,
                `tf.IndexedSlices`, or None if the task's loss does not reach it.
            losses: Tensor of shape (tasks,). L_k.
            rows: Tensor of shape (tasks,). Sum of the weights of the task's rows.
            scale: Scalar. What the gradients are too large by. Defaults to 1.

        Returns:
            List [variables] of tensors, `tf.IndexedSlices` or None.
        """
        tasks = len(self.tasks)
        stacked = [
            stack(by_task) if sum(g is not None for g in by_task) > 1 else None
            for by_task in gradients
        ]
        shared = [i for i, item in enumerate(stacked) if item is not None]
        products = [
            tf.matmul(item[0], item[0], transpose_b=True) / scale**2
            if item is not None
            else tf.zeros((tasks, tasks))
            for item in stacked
        ]
        products = tf.stack(products)  # (variables, K, K)
        finite = tf.reduce_all(tf.math.is_finite(products))
        products = tf.where(finite, products, tf.zeros_like(products))
        seen = tf.logical_and(rows > 0, finite)
        weights = tf.stop_gradient(self.balance(products, losses, seen))
        weights = tf.broadcast_to(weights, (len(gradients), tasks))
        if shared:
            mean = tf.reduce_mean(tf.gather(weights, shared), axis=0)
            mean = tf.where(seen, mean, 0.0)
            steps = tf.cast(seen, "float32")
            self.applied.assign_add(tf.stack([mean, steps]))
        own_weights = weights[0] if self.on_loss else self.task_weights
        result = []
        for place, (by_task, item) in enumerate(zip(gradients, stacked, strict=True)):
            if item is not None:
                result.append(unstack(item, weights[place], by_task))
                continue
            own = [(k, g) for k, g in enumerate(by_task) if g is not None]
            result.append(multiply(own[0][1], own_weights[own[0][0]]) if own else None)
        return result


def stack(gradients):
    """Returns a variable's gradients as a matrix, and the ids of its rows.

    Args:
        gradients: List [tasks] of tensors, `tf.IndexedSlices` or None.

    Returns:
        Tensor of shape (tasks, numbers); ids (ids,) if all gradients are
        `tf.IndexedSlices`, whose values are then summed over equal ids, else None.

    Example:
    >>> a = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([5, 5]))
    >>> b = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([7, 5]))
    >>> matrix, ids = stack([a, b, None])
    >>> matrix.numpy().tolist(), ids.numpy().tolist()
    ([[3.0, 0.0], [4.0, 3.0], [0.0, 0.0]], [5, 7])
    """
    known = [g for g in gradients if g is not None]
    ids = None
    if all(isinstance(g, tf.IndexedSlices) for g in known):
        ids, places = tf.unique(tf.concat([g.indices for g in known], axis=0))
        places = tf.split(places, [tf.size(g.indices) for g in known])
        known = [
            tf.math.unsorted_segment_sum(g.values, place, tf.size(ids))
            for g, place in zip(known, places, strict=True)
        ]
    known = iter([tf.reshape(tf.convert_to_tensor(g), (-1,)) for g in known])
    rows = [None if g is None else next(known) for g in gradients]
    zero = tf.zeros_like(next(row for row in rows if row is not None))
    return tf.stack([zero if row is None else row for row in rows]), ids


def unstack(stacked, weights, gradients):
    """Returns the weighted sum of gradients that `stack` has made a matrix of."""
    matrix, ids = stacked
    total = tf.linalg.matvec(matrix, weights, transpose_a=True)
    like = next(g for g in gradients if g is not None)
    if ids is None:
        return tf.reshape(total, tf.shape(like))
    values = tf.reshape(total, tf.concat([[-1], tf.shape(like.values)[1:]], axis=0))
    return tf.IndexedSlices(values, ids, like.dense_shape)


def multiply(gradient, factor):
    """Returns a gradient times a number; `tf.IndexedSlices` stay so."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            gradient.values * factor, gradient.indices, gradient.dense_shape
        )
    return gradient * factor


def add(a, b):
    """Returns the sum of two gradients, each a tensor, `tf.IndexedSlices` or None."""
    if a is None or b is None:
        return b if a is None else a
    sparse = [isinstance(g, tf.IndexedSlices) for g in (a, b)]
    if all(sparse):
        return tf.IndexedSlices(
            tf.concat([a.values, b.values], axis=0),
            tf.concat([a.indices, b.indices], axis=0),
            a.dense_shape,
        )
    if any(sparse):
        rows, dense = (a, b) if sparse[0] else (b, a)
        return tf.tensor_scatter_nd_add(dense, rows.indices[:, None], rows.values)
    return a + b
