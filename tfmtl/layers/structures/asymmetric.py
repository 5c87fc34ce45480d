"""A shared network beside the tasks' own: PLE's figure 1 b) and c)."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer

SHARED = "shared"  # no task may have this name

_FUSE = {
    "concat": lambda parts: ops.concatenate(parts, axis=-1),
    "sum": lambda parts: sum(parts[1:], parts[0]),
    "mean": lambda parts: sum(parts[1:], parts[0]) / len(parts),
}


@keras.saving.register_keras_serializable("tfmtl")
class Asymmetric(Layer):
    """Asymmetric sharing: one task's network helps the others, not the other way.

        tower_source <- b_source(x)
        tower_k      <- fuse(b_source(x), b_k(x))  for every other task k

    The losses of the other tasks reach b_source too; what they keep for themselves
    is b_k, which the source never sees.

    Deviations from the paper: it draws two tasks. With more, each of the others
    borrows from the same source (our reconstruction: the smallest rule that gives the
    drawing back).

    Args:
        tasks: List of strings. Names of the tasks.
        source: String. The task whose network all others see. Which one "depends on
            the relations between tasks". Defaults to the first task.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        fuse: "concat", "sum" or "mean". Defaults to "concat".
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}; twice as wide
    for all tasks but the source with "concat".

    Example:
    >>> layer = Asymmetric(["click", "like"], units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 16)}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          fig. 1 b).
    """

    def __init__(
        self,
        tasks,
        source=None,
        units=(256, 128),
        fuse="concat",
        activation="relu",
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.source = self.tasks[0] if source is None else source
        _errors.check_choice("source", self.source, self.tasks)
        _errors.check_choice("fuse", fuse, _FUSE)
        self.fuse = fuse
        self.bottoms = {
            task: DNN(units, activation, dropout, dtype=self.dtype_policy, name=task)
            for task in self.tasks
        }

    def build(self, input_shape):
        """Builds one network a task."""
        for bottom in self.bottoms.values():
            bottom.build(input_shape)

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, units)}."""
        own = {
            task: bottom(inputs, training=training)
            for task, bottom in self.bottoms.items()
        }  # {task: (B, U)}
        return {
            task: x if task == self.source else _FUSE[self.fuse]([own[self.source], x])
            for task, x in own.items()
        }

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}, or twice as wide where fused."""
        batch, units = self.bottoms[self.source].compute_output_shape(input_shape)
        fused = 2 * units if self.fuse == "concat" else units
        return {
            task: (batch, units if task == self.source else fused)
            for task in self.tasks
        }


@keras.saving.register_keras_serializable("tfmtl")
class Customized(Layer):
    """Customized sharing: each task sees the shared network and its own.

        tower_k <- concat(b_s(x), b_k(x))

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, 2 * units[-1])}.

    Example:
    >>> layer = Customized(["click", "like"], units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 16), 'like': (4, 16)}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          fig. 1 c).
    """

    def __init__(
        self, tasks, units=(256, 128), activation="relu", dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.bottoms = {
            name: DNN(units, activation, dropout, dtype=self.dtype_policy, name=name)
            for name in (SHARED, *self.tasks)
        }

    def build(self, input_shape):
        """Builds the shared network and one a task."""
        for bottom in self.bottoms.values():
            bottom.build(input_shape)

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, 2 * units)}."""
        x = {
            name: bottom(inputs, training=training)
            for name, bottom in self.bottoms.items()
        }  # {name: (B, U)}
        return {
            task: ops.concatenate([x[SHARED], x[task]], axis=-1) for task in self.tasks
        }

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, 2 * units[-1])}."""
        batch, units = self.bottoms[SHARED].compute_output_shape(input_shape)
        return dict.fromkeys(self.tasks, (batch, 2 * units))
