"""Balancing the tasks' gradients: one forward pass, one backward pass a task."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradients import add, multiply, stack, unstack
from tfmtl.training.balancing.loss_weighting import LossWeighting
from tfmtl.training.balancing.task_gradients import task_gradients
from tfmtl.training.workers import replica_share, sum_over_replicas


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
    Under `tf.distribute` every replica balances the gradients of the whole batch, which
    are summed over the replicas task by task.

    `fit` logs the mean of w_k over the shared parameters and the epoch's steps.

    Args:
        clip: Float, above 0. The gradient of each task with regard to all shared
            parameters is scaled down to this norm, before it is balanced. Defaults to
            no limit.
        layers: List of strings, names of layers as they stand in the paths of the
            weights, such as ["embedding"]. Only what lies in them is balanced, and
            compared; other shared parameters get the sum of weight_k g_k. Defaults to
            all.
    """

    # Whether w_k weighs the loss, and so the task's own parameters too.
    on_loss = False

    def __init__(self, clip=None, layers=None, **kwargs):
        super().__init__(**kwargs)
        if clip is not None and not (_errors.is_number(clip) and clip > 0):
            raise ValueError(f"clip must be a number above 0. Received: {clip!r}.")
        if isinstance(layers, str) or layers == []:
            raise ValueError(
                "layers must be a list of names of layers, such as ['embedding']. "
                f"Received: {layers!r}."
            )
        self.clip = clip
        self.layers = layers

    def start(self, tasks, variables):
        """Creates the state."""
        super().start(tasks, variables)
        parts = [f"/{variable.path}/" for variable in variables if self.layers]
        for layer in self.layers or ():
            if parts and not any(f"/{layer}/" in path for path in parts):
                known = {part for path in parts for part in path.split("/")[2:-2]}
                raise ValueError(
                    f"No layer with weights is called {layer!r}."
                    f"{_errors.nearest(layer, sorted(known))}"
                )
        # Whether a variable is balanced, if it is shared.
        self.balanced = [
            any(f"/{layer}/" in path for layer in self.layers) for path in parts
        ]
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
        by_task, others, losses, rows, other, y_pred = task_gradients(
            model, x, y, sample_weight
        )
        by_task = [sum_over_replicas(gradients) for gradients in by_task]
        losses, rows = sum_over_replicas(losses), sum_over_replicas(rows)
        for metric in model.metrics:
            if metric.name == "loss":
                names = [task.name for task in self.tasks]
                known = [dict(zip(names, v, strict=True)) for v in (losses, rows)]
                total = other / replica_share() + self.total(self.tasks, *known)
                batch = tf.shape(keras.tree.flatten(x)[0])[0]
                metric.update_state(total, sample_weight=batch)
        gradients = self.combine(
            list(zip(*by_task, strict=True)),
            tf.stack(losses),
            tf.stack(rows),
            tf.cast(model.optimizer.scale_loss(1.0), "float32"),
        )
        if replica_share() < 1:  # the optimizer adds up what is the same on each
            gradients = [
                g if g is None else multiply(g, replica_share()) for g in gradients
            ]
        gradients = [add(a, b) for a, b in zip(gradients, others, strict=True)]
        pairs = zip(gradients, model.trainable_weights, strict=True)
        model.optimizer.apply_gradients(pairs)
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
        within = tf.ones(tasks)
        if self.clip is not None:
            squares = tf.linalg.diag_part(tf.reduce_sum(products, axis=0))
            within = self.clip / tf.maximum(tf.sqrt(squares), self.clip)
            products *= within[:, None] * within
        if self.balanced:
            is_balanced = tf.constant(self.balanced)[:, None]
            products = tf.where(is_balanced[:, None], products, 0.0)
        weights = tf.stop_gradient(self.balance(products, losses, seen))
        weights = tf.broadcast_to(weights, (len(gradients), tasks))
        own_weights = weights[0] if self.on_loss else self.task_weights
        if self.balanced:
            weights = tf.where(is_balanced, weights, own_weights)
        weights *= within
        if shared:
            mean = tf.reduce_mean(tf.gather(weights, shared), axis=0)
            mean = tf.where(seen, mean, 0.0)
            steps = tf.cast(seen, "float32")
            self.applied.assign_add(tf.stack([mean, steps]))
        result = []
        for place, (by_task, item) in enumerate(zip(gradients, stacked, strict=True)):
            if item is not None:
                result.append(unstack(item, weights[place], by_task))
                continue
            own = [(k, g) for k, g in enumerate(by_task) if g is not None]
            result.append(multiply(own[0][1], own_weights[own[0][0]]) if own else None)
        return result
