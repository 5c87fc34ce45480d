"""Sharing structures without experts."""

import keras

from tfmtl import _errors
from tfmtl.layers.dnn import DNN


@keras.saving.register_keras_serializable("tfmtl")
class SharedBottom(keras.layers.Layer):
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

    def get_config(self):
        """Returns every argument."""
        bottom = self.bottom.get_config()
        return {
            **super().get_config(),
            "tasks": self.tasks,
            **{key: bottom[key] for key in ("units", "activation", "dropout")},
        }
