"""How much each task's loss counts: the strategy that every other one extends."""

import keras
import numpy as np
from keras import ops

from tfmtl.layers.blocks.layer import Layer


class LossWeighting(Layer):
    """Weighs the tasks' losses while a model trains.

        L = sum_k weight_k m_k L_k

    weight_k is `Task.weight`, m_k what the strategy multiplies it by. So a task's
    weight keeps its meaning under every strategy: it says how much the task matters to
    you, and the strategy corrects for scale, noise, pace or conflict.

    A strategy acts in training alone. `evaluate`, and so `val_loss`, sums weight_k L_k:
    a yardstick that moves with the weights could not tell a better epoch. `fit` logs
    the products weight_k m_k as `{task}_weight` at the end of every epoch, unless they
    are fixed.

    It is a Keras layer only in order that Keras saves its state with the model's
    weights. It belongs to one model, as an optimizer does. Weights that were saved
    under another strategy leave it as it is, so a model can go on under another.

    See Also: `tfmtl.training.weighting`, which makes one by name;
    `tfmtl.training.GradientBalancing` for those that need each task's gradient.
    """

    def start(self, tasks, variables):
        """Creates the state; `compile` calls this.

        Args:
            tasks: List of `Task`.
            variables: List of the model's trainable variables.

        Raises:
            ValueError: If the strategy has been given to a model before.
        """
        if hasattr(self, "tasks"):
            raise ValueError(
                f"A loss weighting holds the state of one model's training. Received a "
                f"{type(self).__name__} that another model was compiled with; make a "
                "new one."
            )
        self.tasks = list(tasks)
        self.task_weights = np.array([task.weight for task in tasks], "float32")

    def add_state(self, name, shape=(), start="zeros", replicas="mean"):
        """Returns a variable that is saved but not learnt.

        Args:
            name: String.
            shape: Tuple. Defaults to a scalar.
            start: String or initializer. Defaults to "zeros".
            replicas: "mean", "sum" or "first": what the replicas of a distributed step
                make of their values; "first" is for counters, which are integers.
                Defaults to "mean".
        """
        return self.add_weight(
            shape=shape,
            initializer=start,
            dtype="int32" if replicas == "first" else "float32",
            trainable=False,
            aggregation="only_first_replica" if replicas == "first" else replicas,
            name=name,
        )

    def multipliers(self):
        """Returns m_k of every task, as they stand. Tensor of shape (tasks,)."""
        raise NotImplementedError

    def stack(self, of_tasks):
        """Returns a dict {task: scalar} as a tensor of shape (tasks,)."""
        return ops.stack([of_tasks[task.name] for task in self.tasks])

    def total(self, tasks, losses, rows):
        """Returns the loss that is minimised.

        Args:
            tasks: List of `Task`.
            losses: Dict {task: L_k}, scalars.
            rows: Dict {task: sum of the weights of its rows}; 0 for a task without a
                row in the batch, whose loss is 0.
        """
        weights = self.multipliers() * self.task_weights
        return ops.sum(weights * self.stack(losses))

    def update(self, losses, rows):
        """Takes note of a training step's losses; arguments as in `total`."""

    def begin_epoch(self, epoch):
        """Takes note that an epoch begins; `fit` calls this.

        In a training loop of your own, call it yourself.

        Args:
            epoch: Integer, from 0, as `fit` counts.
        """

    def report(self) -> dict[str, float]:
        """Returns {task: weight_k m_k} as it stands."""
        weights = ops.convert_to_numpy(self.multipliers()) * self.task_weights
        return {
            task.name: float(weight)
            for task, weight in zip(self.tasks, weights, strict=True)
        }

    def save_own_variables(self, store):
        """Saves the state, and whose it is."""
        if self.weights:
            store["strategy"] = np.frombuffer(type(self).__name__.encode(), "uint8")
        for i, weight in enumerate(self.weights):
            store[str(i)] = weight.numpy()

    def load_own_variables(self, store):
        """Loads the state, if this strategy saved it; else starts anew."""
        saved = store["strategy"] if "strategy" in store.keys() else ()
        if bytes(bytearray(saved)) == type(self).__name__.encode():
            for i, weight in enumerate(self.weights):
                weight.assign(store[str(i)])


@keras.saving.register_keras_serializable("tfmtl.training")
class Fixed(LossWeighting):
    """The tasks' own weights, PLE's eq. 8: L = sum_k weight_k L_k. The default.

    Hard to beat once the weights are tuned, and at no cost: Keras's plain training step
    is used.

    Example:
    >>> import tfmtl
    >>> model = tfmtl.models.get("ple")(
    ...     features=[tfmtl.Numeric("x")],
    ...     tasks=[tfmtl.Task("click"), tfmtl.Task("buy", weight=5)],
    ... )
    >>> model.compile(loss_weighting=Fixed())

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
        - [In Defense of the Unitary Scalarization](https://arxiv.org/abs/2201.04122)
    """

    def multipliers(self):
        """Returns 1 for every task."""
        return ops.ones(len(self.tasks))

    def total(self, tasks, losses, rows):
        """Returns sum_k weight_k L_k."""
        return sum(task.weight * losses[task.name] for task in tasks)


def refuse_negative(strategy, tasks):
    """Raises a ValueError if a task's loss can be below 0.

    Args:
        strategy: The `LossWeighting` that needs losses of 0 or above.
        tasks: List of `Task`.
    """
    for task in tasks:
        for loss in task.loss:
            if loss.can_be_negative:
                raise ValueError(
                    f"{type(strategy).__name__} needs losses of 0 or above. Received: "
                    f"the loss {loss.name!r} of task {task.name!r}, a density's "
                    "logarithm. Take another loss or strategy."
                )


class WeightingEpochs(keras.callbacks.Callback):
    """Tells the model's loss weighting which epoch it is, and logs the weights.

    `MultiTaskModel.fit` puts it first, so that the callbacks after it see the weights.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Passes the epoch on; a resumed `fit` begins at its `initial_epoch`."""
        self.model.loss_weighting.begin_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Adds `{task}_weight` to the logs."""
        weights = self.model.loss_weighting.report()
        logs.update({f"{task}_weight": weight for task, weight in weights.items()})
