"""Feature interactions by name, and banks of experts made of different ones."""

import functools
import math

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.cross import Cross, CrossMix, CrossV2
from tfmtl.layers.dnn import DNN
from tfmtl.layers.factorization import CIN, FactorizationMachine
from tfmtl.layers.field_attention import FieldAttention
from tfmtl.layers.field_interaction import FieldInteraction
from tfmtl.layers.recurrent_cross import FieldRecurrentCross, RecurrentCross

_INTERACTIONS = {
    # These read (batch, width),
    "dnn": functools.partial(DNN, units=(128,)),
    "cross": Cross,
    "cross_v2": CrossV2,
    "cross_mix": CrossMix,
    "recurrent_cross": RecurrentCross,
    # and these (batch, fields, dim).
    "field_interaction": FieldInteraction,
    "fm": FactorizationMachine,
    "cin": CIN,
    "attention": FieldAttention,
    "field_recurrent_cross": FieldRecurrentCross,
}


def interaction(name: str, **options) -> keras.layers.Layer:
    """Returns a feature interaction layer by its name.

    Those of flat vectors, (batch, width): "dnn", "cross" (DCN), "cross_v2" (DCN-V2),
    "cross_mix" (DCN-Mix) and "recurrent_cross". Those of fields, (batch, fields, dim),
    which have the attribute `takes_fields = True`: "field_interaction", "fm", "cin",
    "attention" (AutoInt) and "field_recurrent_cross".

    Args:
        name: String. One of the above.
        **options: Arguments of the layer. `units` of "dnn" defaults to (128,).

    Raises:
        ValueError: If there is no such interaction; the message gives the nearest.

    Example:
    >>> interaction("cross_v2", depth=2, rank=8).rank
    8
    """
    _errors.check_choice("interaction", name, _INTERACTIONS)
    return _INTERACTIONS[name](**options)


@keras.saving.register_keras_serializable("tfmtl")
class HeterogeneousExperts(keras.layers.Layer):
    """A bank of experts that are different kinds of interaction.

    e_i(x) = activation(W_i flat(interaction_i(x)) + b_i): the last matrix gives all
    experts one width, so that a gate can mix them, as it mixes those of `Experts`.

    Args:
        interactions: List. Each a name for `interaction`, a dict {"name": name,
            **options}, or a layer.
        units: Integer. Width of an expert's output. Defaults to 64.
        activation: String or callable. Defaults to "relu".

    Input shape: (batch, fields, dim) if any of the interactions takes fields (the
    attribute `takes_fields` tells); the others then read (batch, fields * dim). Else
    (batch, width).

    Output shape: (batch, experts, units).

    Example:
    >>> ops = keras.ops
    >>> experts = HeterogeneousExperts(["cin", {"name": "cross", "depth": 2}], units=8)
    >>> fields = ops.ones((4, 3, 16))
    >>> experts(fields).shape
    TensorShape([4, 2, 8])
    >>> from tfmtl.layers import SoftmaxGate
    >>> SoftmaxGate(2)(ops.reshape(fields, (4, 48)), experts(fields)).shape
    TensorShape([4, 8])
    """

    def __init__(self, interactions, units=64, activation="relu", **kwargs):
        super().__init__(**kwargs)
        if not interactions:
            raise ValueError("Experts need at least one interaction. Received none.")
        _errors.check_positive("units", units)
        self.interactions = [
            self._make(given, f"expert_{i}") for i, given in enumerate(interactions)
        ]
        self.units = units
        self.activation = keras.activations.get(activation)
        self.projections = [
            keras.layers.Dense(
                units,
                activation=self.activation,
                dtype=self.dtype_policy,
                name=f"projection_{i}",
            )
            for i in range(len(self.interactions))
        ]

    @property
    def takes_fields(self):
        """Whether any of the experts reads (batch, fields, dim)."""
        return any(map(_takes_fields, self.interactions))

    @property
    def labels(self):
        """Names of the experts in a gate report."""
        return [
            f"{type(layer).__name__.lower()}_{i}"
            for i, layer in enumerate(self.interactions)
        ]

    def _make(self, given, name):
        if isinstance(given, keras.layers.Layer):
            return given
        options = {"name": given} if isinstance(given, str) else dict(given)
        if "name" not in options:
            raise ValueError(
                "An interaction must be a name, a layer, or a dict with the key "
                f"'name'. Received: {given!r}."
            )
        layer_type = options.pop("name")
        _errors.check_choice("interaction", layer_type, _INTERACTIONS)
        options = {"dtype": self.dtype_policy, **options}
        return _INTERACTIONS[layer_type](name=name, **options)

    def build(self, input_shape):
        """Builds the interactions and creates the projections."""
        rank = 3 if self.takes_fields else 2
        if len(input_shape) != rank:
            wanted = "(batch, fields, dim)" if rank == 3 else "(batch, width)"
            raise ValueError(
                f"These experts read {wanted}. Received: shape {tuple(input_shape)}."
            )
        for layer, projection in zip(self.interactions, self.projections, strict=True):
            shape = input_shape if _takes_fields(layer) else _flat_shape(input_shape)
            if not layer.built:  # a layer given, or loaded, may be
                layer.build(shape)
            projection.build(_flat_shape(layer.compute_output_shape(shape)))

    def call(self, inputs):
        """Maps (batch, fields, dim) or (batch, width) to (batch, experts, units)."""
        outputs = []
        for layer, projection in zip(self.interactions, self.projections, strict=True):
            x = inputs if _takes_fields(layer) else _flat(inputs)
            outputs.append(projection(_flat(layer(x))))
        return ops.stack(outputs, axis=1)  # (B, E, U)

    def compute_output_shape(self, input_shape):
        """Returns (batch, experts, units)."""
        return (input_shape[0], len(self.interactions), self.units)

    def get_config(self):
        """Returns every argument."""
        return {
            **super().get_config(),
            "interactions": [
                keras.saving.serialize_keras_object(layer)
                for layer in self.interactions
            ],
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        """Builds the layer from `get_config`'s dict."""
        interactions = [
            keras.saving.deserialize_keras_object(layer)
            for layer in config["interactions"]
        ]
        return cls(**{**config, "interactions": interactions})


def _takes_fields(layer):
    return getattr(layer, "takes_fields", False)


def _flat_shape(shape):
    return (shape[0], math.prod(shape[1:]))


def _flat(x):
    return ops.reshape(x, (-1, _flat_shape(x.shape)[1]))
