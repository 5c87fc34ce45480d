"""Sharing structures without experts."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class SharedBottom(Layer):
    """Hard sharing: one network below the towers of all tasks, y_k = t_k(f(x)).

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers. Layer widths of f. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}, the same
    tensor for each task.

    Example:
    >>> out = SharedBottom(["click", "like"], units=(8,))(keras.ops.ones((4, 5)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Multitask Learning](https://doi.org/10.1023/A:1007379606734), Caruana 1997.
    """

    def __init__(
        self, tasks, units=(256, 128), activation="relu", dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.bottom = DNN(
            units, activation, dropout, dtype=self.dtype_policy, name="bottom"
        )

    def build(self, input_shape):
        """Builds the shared network."""
        self.bottom.build(input_shape)

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, self.bottom(inputs, training=training))

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, self.bottom.compute_output_shape(input_shape))


@keras.saving.register_keras_serializable("tfmtl")
class SeparateBottoms(Layer):
    """No sharing: a network of its own for every task, y_k = t_k(f_k(x_k)).

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers. Layer widths of each f_k. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input: tensor (batch, width), which every network reads, or a dict
    {task: (batch, width)}. Output: dict {task: (batch, units[-1])}.

    Example:
    >>> layer = SeparateBottoms(["click", "like"], units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}
    """

    def __init__(
        self, tasks, units=(256, 128), activation="relu", dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.bottoms = {
            task: DNN(units, activation, dropout, dtype=self.dtype_policy, name=task)
            for task in self.tasks
        }

    def build(self, input_shape):
        """Builds one network a task."""
        _errors.check_keys(self, input_shape, self.tasks)
        for task, bottom in self.bottoms.items():
            bottom.build(_of_task(input_shape, task))

    def call(self, inputs, training=None):
        """Maps (batch, width), or one such tensor a task, to {task: (batch, units)}."""
        return {
            task: bottom(_of_task(inputs, task), training=training)
            for task, bottom in self.bottoms.items()
        }

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return {
            task: bottom.compute_output_shape(_of_task(input_shape, task))
            for task, bottom in self.bottoms.items()
        }


def _of_task(inputs, task):
    """Returns the task's entry of a dict, or what all tasks have in common."""
    return inputs[task] if isinstance(inputs, dict) else inputs
