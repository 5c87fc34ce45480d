"""PEPNet's Gate NU: a small network whose output scales other values."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer

EMBEDDING_INPUTS = ("stop_gradient", "gradient", "none")


@keras.saving.register_keras_serializable("tfmtl")
class GateNU(Layer):
    """Scales between 0 and gamma, around gamma / 2 at the start.

        x' = relu(x W + b)                                                (2)
        delta = gamma sigmoid(x' W' + b'),  delta in [0, gamma]           (3)

    Reconstruction: the width of x' is not given in the paper; public code takes the
    number of outputs, and so does `hidden_units=None`.

    Args:
        units: Integer. Number of outputs.
        gamma: Float. The largest scale. Defaults to 2, the paper's best: with it the
            gate is 1, hence changes nothing, where its last layer is zero.
        hidden_units: Integer. Width of x'. Defaults to `units`.

    Input shape: (batch, width). Output shape: (batch, units).

    Example:
    >>> GateNU(3)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 3])

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), eq. 2 and 3.
    """

    def __init__(self, units, gamma=2.0, hidden_units=None, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("units", units)
        if hidden_units is not None:
            _errors.check_positive("hidden_units", hidden_units)
        if not isinstance(gamma, int | float) or not gamma > 0:
            raise ValueError(f"gamma must be a number above 0. Received: {gamma!r}.")
        self.units = units
        self.gamma = gamma
        self.hidden_units = hidden_units
        self.hidden = keras.layers.Dense(
            hidden_units or units,
            activation="relu",
            dtype=self.dtype_policy,
            name="hidden",
        )
        self.scale = keras.layers.Dense(
            units, activation="sigmoid", dtype=self.dtype_policy, name="scale"
        )

    def build(self, input_shape):
        """Builds both dense layers."""
        _errors.check_rank(self, input_shape, 2)
        self.hidden.build(input_shape)
        self.scale.build(self.hidden.compute_output_shape(input_shape))

    def call(self, inputs):
        """Maps (batch, width) to (batch, units)."""
        return self.gamma * self.scale(self.hidden(inputs))

    def compute_output_shape(self, input_shape):
        """Returns (batch, units)."""
        return (input_shape[0], self.units)


def check_gate_input(what: str, names, embedding_input: str) -> list[str]:
    """Returns the feature names as a list; raises if a gate would read nothing.

    Args:
        what: String. The argument that holds the names.
        names: Names of the features whose vectors the gate reads.
        embedding_input: String. One of `EMBEDDING_INPUTS`.
    """
    _errors.check_choice("embedding_input", embedding_input, EMBEDDING_INPUTS)
    if isinstance(names, str):
        raise ValueError(
            f"{what} must be a list of feature names. Received: {names!r}."
        )
    names = list(names)
    _errors.check_unique(what, names)
    if not names and embedding_input == "none":
        raise ValueError(
            f"A gate must read something: give {what}, or let embedding_input be "
            '"stop_gradient". Received: no names and embedding_input="none".'
        )
    return names


def gate_input(what: str, names, vectors: dict, embedding: dict, embedding_input: str):
    """Joins what a gate reads: its own features, and the whole embedding.

    Args:
        what: String. The argument that holds the names.
        names: List of strings. Names of the gate's own features.
        vectors: Dict {feature: (batch, dim)}, in which `names` are looked up.
        embedding: Dict {feature: (batch, dim)}, the embedding that the backbone reads.
        embedding_input: String. "stop_gradient", as in the paper: the gate sees the
            embedding and does not train it; "gradient": it trains it too; "none".

    Returns:
        Tensor of shape (batch, width).
    """
    missing = [name for name in names if name not in vectors]
    if missing:
        raise ValueError(
            f"{what} must be among the features. Received: {missing[0]!r}."
            f"{_errors.nearest(missing[0], vectors)}"
        )
    parts = [vectors[name] for name in names]
    if embedding_input != "none":
        whole = ops.concatenate(list(embedding.values()), axis=-1)
        stop = embedding_input == "stop_gradient"
        parts.append(ops.stop_gradient(whole) if stop else whole)
    return ops.concatenate(parts, axis=-1)  # (B, width)


def split_scales(path: str, delta, widths: dict[str, int]) -> dict:
    """Splits a gate's output into one piece a name; notes each piece's mean.

    Args:
        path: String. The gate's path in a gate report.
        delta: Tensor of shape (batch, sum of widths).
        widths: Dict {name: integer}.

    Returns:
        {name: (batch, width)}.
    """
    scales, start = {}, 0
    for name, width in widths.items():
        scales[name] = delta[:, start : start + width]
        start += width
    means = [ops.mean(scale, axis=-1) for scale in scales.values()]
    note_gate(path, ops.stack(means, axis=-1), widths)
    return scales


def gate_input_width(names, vectors: dict, embedding: dict, embedding_input) -> int:
    """Returns the width of `gate_input` from dicts of shapes."""
    width = sum(vectors[name][-1] for name in names if name in vectors)
    if embedding_input != "none":
        width += sum(shape[-1] for shape in embedding.values())
    return width
