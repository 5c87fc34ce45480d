"""Adaptive information transfer along a sequence of tasks."""

import math

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.structures.shared_bottom import SeparateBottoms


@keras.saving.register_keras_serializable("tfmtl")
class InformationTransfer(Layer):
    """Weighs what the previous task hands on against the task's own features.

        p = g(z_{t-1})
        z_t = sum_{u in {p, q_t}} w_u h_1(u),
        w_u = softmax over u of <h_2(u), h_3(u)> / sqrt(k)

    g is a dense layer with ReLU; h_1, h_2 and h_3 are linear, without bias, k x k.

    Args:
        labels: List of two strings. Names of the previous task and of the task in a
            gate report. Defaults to ["previous", "own"].

    Call arguments:
        previous: Tensor of shape (batch, width), z_{t-1}.
        own: Tensor of shape (batch, k), q_t.

    Output shape: (batch, k).

    Example:
    >>> ones = keras.ops.ones
    >>> InformationTransfer()(ones((4, 8)), ones((4, 8))).shape
    TensorShape([4, 8])

    References:
        - [AITM](https://arxiv.org/abs/2105.08489)
    """

    def __init__(self, labels=("previous", "own"), **kwargs):
        super().__init__(**kwargs)
        self.labels = list(labels)
        if len(self.labels) != 2:
            raise ValueError(
                "labels must name the previous task and the task. Received: "
                f"{self.labels}."
            )

    def build(self, previous_shape, own_shape):
        """Creates g, h_1, h_2 and h_3."""
        width = own_shape[-1]
        self.information = keras.layers.Dense(
            width, "relu", dtype=self.dtype_policy, name="information"
        )
        self.information.build(previous_shape)
        self.projections = []  # h_1, h_2, h_3
        for name in ("value", "query", "key"):
            dense = keras.layers.Dense(
                width, use_bias=False, dtype=self.dtype_policy, name=name
            )
            dense.build((None, 2, width))
            self.projections.append(dense)

    def call(self, previous, own):
        """Maps (batch, width) and (batch, k) to (batch, k)."""
        u = ops.stack([self.information(previous), own], axis=1)  # (B, 2, k)
        value, query, key = (project(u) for project in self.projections)
        scores = ops.sum(query * key, axis=-1) / math.sqrt(own.shape[-1])
        weights = ops.softmax(scores)  # (B, 2)
        note_gate(self.path, weights, self.labels)
        return ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), value), 1)

    def compute_output_shape(self, previous_shape, own_shape):
        """Returns (batch, k)."""
        return (previous_shape[0], own_shape[-1])


@keras.saving.register_keras_serializable("tfmtl")
class AITM(Layer):
    """Adaptive Information Transfer: each task reads the task before it.

        q_t = f_t(x),  z_1 = q_1,  z_t = transfer(z_{t-1}, q_t)

    See `InformationTransfer` for the transfer. Tasks stand in the order in which users
    act, such as click, add to cart, buy. The representations are handed on whatever a
    task's kind; the calibrator, which compares probabilities, is the model's.

    Args:
        tasks: List of strings. Names of the tasks, in funnel order.
        units: Tuple of integers. Layer widths of each f_t; the last is k, the width of
            the transfer. Defaults to (128, 64, 32).
        activation: String or callable of f_t. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer of f_t. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}.

    Example:
    >>> layer = AITM(["click", "buy"], units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'buy': (4, 8)}

    References:
        - [AITM](https://arxiv.org/abs/2105.08489)
    """

    def __init__(
        self, tasks, units=(128, 64, 32), activation="relu", dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.bottoms = SeparateBottoms(
            self.tasks,
            units,
            activation,
            dropout,
            dtype=self.dtype_policy,
            name="bottoms",
        )
        self.transfers = {
            task: InformationTransfer(
                [f"from_{before}", task], dtype=self.dtype_policy, name=f"to_{task}"
            )
            for before, task in zip(self.tasks, self.tasks[1:], strict=False)
        }

    def build(self, input_shape):
        """Builds the tasks' networks and the transfers."""
        self.bottoms.build(input_shape)
        shape = self.bottoms.compute_output_shape(input_shape)[self.tasks[0]]
        for transfer in self.transfers.values():
            transfer.build(shape, shape)

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, units[-1])}."""
        q = self.bottoms(inputs, training=training)
        z = {}
        for before, task in zip((None, *self.tasks), self.tasks, strict=False):
            z[task] = q[task]
            if before is not None:
                z[task] = self.transfers[task](z[before], q[task])
        return z

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return self.bottoms.compute_output_shape(input_shape)
