"""Feature interactions between the embedding and a sharing structure."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.embedding.field_stack import FieldStack
from tfmtl.layers.interactions.registry import (
    build_flat,
    call_flat,
    check_interactions,
    flat_output_shape,
    make_interactions,
    takes_fields,
)


@keras.saving.register_keras_serializable("tfmtl")
class InteractionBottom(Layer):
    """Interactions of all features side by side: [i_1(E), ..., i_n(E)].

    So any sharing structure reads what DCN-V2, CIN or self-attention make of the
    embedding E. ["cross_v2", "dnn"] is DCN-V2's parallel structure, ["cross_v2"] its
    stacked one if the sharing structure is deep.

    Args:
        interactions: List. Each item a name for `tfmtl.layers.interaction`, a dict
            {"name": name, **options}, or a layer, of which a fresh copy is built.

    Input: dict {feature: (batch, dim)}, as from `FeatureEmbedding`. Interactions of
    fields read them stacked by a `FieldStack`, the others joined.

    Output shape: (batch, width), the sum of the interactions' widths.

    Example:
    >>> ops = keras.ops
    >>> bottom = InteractionBottom(["cross_v2", {"name": "cin", "units": [5]}])
    >>> bottom({"user": ops.ones((4, 8)), "item": ops.ones((4, 8))}).shape  # 16 + 5
    TensorShape([4, 21])

    References:
        - [DCN V2](https://doi.org/10.1145/3442381.3450078), section 3.4.
    """

    def __init__(self, interactions, **kwargs):
        super().__init__(**kwargs)
        self.kinds = check_interactions("interactions", interactions)
        self.interactions = make_interactions(
            self.kinds, "interaction", self.dtype_policy
        )
        self.fields = None
        if any(map(takes_fields, self.interactions)):
            self.fields = FieldStack(dtype=self.dtype_policy, name="fields")

    def build(self, input_shape):
        """Builds the interactions."""
        _errors.check_vectors(self, input_shape)
        if self.fields:
            self.fields.build(input_shape)
        for layer in self.interactions:
            build_flat(layer, self._shape_for(layer, input_shape))

    def call(self, inputs):
        """Maps {feature: (batch, dim)} to (batch, width)."""
        fields = self.fields(inputs) if self.fields else None  # (B, F, D)
        joined = ops.concatenate(list(inputs.values()), axis=-1)
        return ops.concatenate(
            [
                call_flat(layer, fields if takes_fields(layer) else joined)
                for layer in self.interactions
            ],
            axis=-1,
        )

    def _shape_for(self, layer, input_shape):
        if takes_fields(layer):
            return self.fields.compute_output_shape(input_shape)
        shapes = list(input_shape.values())
        return (shapes[0][0], sum(shape[-1] for shape in shapes))

    def compute_output_shape(self, input_shape):
        """Returns (batch, width)."""
        shapes = [
            flat_output_shape(layer, self._shape_for(layer, input_shape))
            for layer in self.interactions
        ]
        return (shapes[0][0], sum(width for _, width in shapes))
