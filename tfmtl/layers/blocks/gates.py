"""Gates that mix experts, and how their weights are read."""

import keras
import numpy as np
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import Recording, gated_experts

_gates = Recording()


def record_gates():
    """Collects the weights of every gate that is called inside the `with` block.

    Yields:
        A dict that fills with {path of the gate: (weights, labels)}: weights of shape
        (batch, n), or (n,) where they do not depend on the input, and the n labels of
        what they weigh.

    Example:
        >>> gate = SoftmaxGate(2, labels=["left", "right"])
        >>> with record_gates() as gates:
        ...     _ = gate(keras.ops.ones((4, 5)), keras.ops.ones((4, 2, 8)))
        >>> [(tuple(w.shape), labels) for w, labels in gates.values()]
        [((4, 2), ['left', 'right'])]
    """
    return _gates.listen()


def note_gate(path, weights, labels):
    """Hands a gate's weights to `record_gates`, if it is active; else does nothing."""
    _gates.note(path, (weights, list(labels)))


@keras.saving.register_keras_serializable("tfmtl")
class SoftmaxGate(Layer):
    """Mixes experts by weights that depend on the input: softmax(W x) S.

    PLE's eq. 2 and 3 (MMoE's eq. 6 and 7): a single linear layer, without bias.

    Args:
        experts: Integer. Number of experts to mix.
        labels: List of strings. Names of the experts in a gate report. Defaults to
            "0", "1", ...

    Call arguments:
        selector: Tensor of shape (batch, width), what the weights depend on.
        experts: Tensor of shape (batch, experts, units), or a list of such with as many
            experts together, of which no joint tensor is made.

    Output shape: (batch, units).

    Example:
    >>> ops = keras.ops
    >>> SoftmaxGate(3)(ops.ones((4, 5)), ops.ones((4, 3, 8))).shape
    TensorShape([4, 8])

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    def __init__(self, experts, labels=None, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("experts", experts)
        self.experts = experts
        self.labels = list(labels) if labels else [str(i) for i in range(experts)]
        if len(self.labels) != experts:
            raise ValueError(
                f"A gate over {experts} experts needs as many labels. Received: "
                f"{self.labels}."
            )

    def build(self, selector_shape, experts_shape=None):
        """Creates W, (width, experts)."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(selector_shape[-1], self.experts),
            initializer="glorot_uniform",
        )

    def weigh(self, selector, experts):
        """Maps (batch, width) to the weights of the experts, (batch, experts)."""
        weights = ops.softmax(ops.matmul(selector, self.kernel))
        note_gate(self.path, weights, self.labels)
        gated_experts.note(self.path, experts)
        return weights

    def call(self, selector, experts):
        """Maps (batch, width) and (batch, experts, units) to (batch, units)."""
        weights = self.weigh(selector, experts)  # (B, E)
        banks = experts if isinstance(experts, list) else [experts]
        if len(banks) == 1:
            return _mix(weights, banks[0])
        ends = np.cumsum([bank.shape[1] for bank in banks])
        parts = ops.split(weights, ends[:-1].tolist(), axis=1)
        return sum(_mix(w, bank) for w, bank in zip(parts, banks, strict=True))

    def compute_output_shape(self, selector_shape, experts_shape):
        """Returns (batch, units)."""
        if isinstance(experts_shape, list):
            experts_shape = experts_shape[0]
        return (selector_shape[0], experts_shape[-1])


def _mix(weights, experts):
    """Returns the sum of experts (B, E, U), each times its weight of (B, E)."""
    if experts.shape[1] == 1:
        return weights * ops.squeeze(experts, 1)
    return ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), experts), 1)
