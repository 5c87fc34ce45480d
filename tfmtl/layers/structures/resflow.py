"""Residual flow: each layer of a task adds what the task before it has there."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class ResFlow(Layer):
    """Residual connections between the same layers of neighbouring tasks.

        h_t^l = f(W_t^l h_t^{l-1} + b_t^l) + h_{t-1}^l,  h_t^0 = x,  h_0^l = 0

    Tasks stand in the order in which users act, such as click, cart, buy. A later task,
    which is rarer, learns what it differs by from the one before. It has a network of
    its own, and the residuals cost nothing. The logits' residual is the model's.

    Deviations from the paper's code: no batch normalisation, and ReLU in the place of
    PReLU. It has two tasks there; with more, what flows on is the sum so far, as its
    logits do.

    Args:
        tasks: List of strings. Names of the tasks, in funnel order.
        units: Tuple of integers. Layer widths of each task's network, at least one.
            Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}.

    Example:
    >>> layer = ResFlow(["click", "buy"], units=(16, 8))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'buy': (4, 8)}

    References:
        - [ResFlow](https://arxiv.org/abs/2411.09705)
    """

    def __init__(
        self, tasks, units=(256, 128), activation="relu", dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.units = _errors.check_units("units", units)
        if not self.units:
            raise ValueError("A task needs at least one layer. Received: units=().")
        self.dense = {
            f"{task}_{i}": DNN(
                (width,),
                activation,
                dropout,
                dtype=self.dtype_policy,
                name=f"{task}_{i}",
            )
            for task in self.tasks
            for i, width in enumerate(self.units)
        }

    @property
    def networks(self) -> dict[str, list[DNN]]:
        """{task: its layers, the lowest first}."""
        return {
            task: [self.dense[f"{task}_{i}"] for i in range(len(self.units))]
            for task in self.tasks
        }

    def build(self, input_shape):
        """Builds the tasks' networks."""
        for network in self.networks.values():
            shape = input_shape
            for layer in network:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, units[-1])}."""
        outputs, before = {}, None
        for task, network in self.networks.items():
            x, flow = inputs, []
            for i, layer in enumerate(network):
                x = layer(x, training=training)
                if before is not None:
                    x = x + before[i]
                flow.append(x)
            outputs[task], before = x, flow
        return outputs

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[-1]))
