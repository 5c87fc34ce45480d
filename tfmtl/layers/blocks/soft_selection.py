"""Soft selection: how much of a field comes from its attention to the others."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class SoftSelection(Layer):
    """Blends every embedding with what self-attention makes of it (DEPHN, eq. 1).

        E_sg = s(g) * E_SA + (1 - s(g)) * E

    E_SA is the multi-head self-attention of E over the fields, softmax(Q K^T / sqrt(d))
    V with Q, K, V = W E (PHN, eq. 4 and 5), s the sigmoid, and g a trainable number
    for each entry of E, the same for all rows. It starts at 0: half and half. A gate
    report holds the mean of s(g) over each field.

    Deviations from the paper: it gives neither the number of heads nor how they are
    joined; here heads are concatenated and projected back to the width of E, as in the
    Transformer. That each selection has an attention of its own is our reading of its
    figure 2.

    Args:
        heads: Integer. Number of attention heads, each of width dim / heads, rounded
            up. Defaults to 2.
        labels: List of strings. Names of the fields in a gate report. Defaults to
            "field_0", "field_1", ...

    Input shape: (batch, fields, dim). Output shape: the same.

    Example:
    >>> SoftSelection()(keras.ops.ones((4, 3, 8))).shape
    TensorShape([4, 3, 8])

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519), eq. 1.
    """

    def __init__(self, heads=2, labels=None, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("heads", heads)
        self.heads = heads
        self.labels = None if labels is None else list(labels)

    def build(self, input_shape):
        """Creates the attention and the gating parameter g, (fields, dim)."""
        _errors.check_rank(self, input_shape, 3)
        fields, dim = input_shape[1:]
        if self.labels is not None and len(self.labels) != fields:
            raise ValueError(
                f"A selection over {fields} fields needs as many labels. Received: "
                f"{self.labels}."
            )
        self.attention = keras.layers.MultiHeadAttention(
            self.heads,
            key_dim=-(-dim // self.heads),
            use_bias=False,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(input_shape, input_shape)
        self.gate = self.add_weight(
            name="gate", shape=(fields, dim), initializer="zeros"
        )

    def call(self, inputs):
        """Maps (batch, fields, dim) to (batch, fields, dim)."""
        selected = ops.sigmoid(self.gate)  # (F, D)
        labels = self.labels or [f"field_{i}" for i in range(selected.shape[0])]
        note_gate(self.path, ops.mean(selected, axis=-1), labels)
        attended = self.attention(inputs, inputs)  # (B, F, D)
        return selected * attended + (1 - selected) * inputs

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return tuple(input_shape)
