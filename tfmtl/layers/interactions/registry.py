"""Feature interactions by name, and banks of experts made of different ones."""

import functools
import math

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.layer import Layer, written
from tfmtl.layers.interactions.cross import Cross, CrossMix, CrossV2
from tfmtl.layers.interactions.field_attention import FieldAttention
from tfmtl.layers.interactions.field_interaction import FieldInteraction
from tfmtl.layers.interactions.fm_cin import CIN, FactorizationMachine
from tfmtl.layers.interactions.parallel_cross import ParallelCross
from tfmtl.layers.interactions.recurrent_cross import (
    FieldRecurrentCross,
    RecurrentCross,
)

_INTERACTIONS = {
    # These read (batch, width),
    "dnn": functools.partial(DNN, units=(128,)),
    "cross": Cross,
    "cross_v2": CrossV2,
    "cross_mix": CrossMix,
    "parallel_cross": ParallelCross,
    "recurrent_cross": RecurrentCross,
    # and these (batch, fields, dim).
    "field_interaction": FieldInteraction,
    "fm": FactorizationMachine,
    "cin": CIN,
    "attention": FieldAttention,
    "field_recurrent_cross": FieldRecurrentCross,
}
_NAMES = {getattr(m, "func", m).__name__: name for name, m in _INTERACTIONS.items()}


def interaction(name: str, **options) -> keras.layers.Layer:
    """Returns a feature interaction layer by its name.

    Those of flat vectors, (batch, width): "dnn", "cross" (DCN), "cross_v2" (DCN-V2),
    "cross_mix" (DCN-Mix), "parallel_cross" (PHN) and "recurrent_cross". Those of
    fields, (batch, fields, dim), which have the attribute `takes_fields = True`:
    "field_interaction", "fm", "cin", "attention" (AutoInt) and "field_recurrent_cross".

    A model gives those with `multiplies = True` rows of a root mean square of at most
    1: raw numbers, multiplied with themselves, would drown all else.

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
class HeterogeneousExperts(Layer):
    """A bank of experts that are different kinds of interaction.

    e_i(x) = activation(W_i flat(interaction_i(x)) + b_i): the last matrix gives all
    experts one width, so that a gate can mix them, as it mixes those of `Experts`.

    Args:
        interactions: List. Each a name for `interaction`, a dict {"name": name,
            **options}, or a layer, of which a fresh copy is built.
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
        _errors.check_positive("units", units)
        self.kinds = check_interactions("interactions", interactions)
        self.interactions = make_interactions(self.kinds, "expert", self.dtype_policy)
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
        return any(map(takes_fields, self.interactions))

    @property
    def labels(self):
        """Names of the experts in a gate report."""
        return labels_of(self.kinds)

    def build(self, input_shape):
        """Builds the interactions and creates the projections."""
        _errors.check_rank(self, input_shape, 3 if self.takes_fields else 2)
        for layer, projection in zip(self.interactions, self.projections, strict=True):
            build_flat(layer, input_shape)
            projection.build(flat_output_shape(layer, input_shape))

    def call(self, inputs):
        """Maps (batch, fields, dim) or (batch, width) to (batch, experts, units)."""
        outputs = [
            projection(call_flat(layer, inputs))
            for layer, projection in zip(
                self.interactions, self.projections, strict=True
            )
        ]
        return ops.stack(outputs, axis=1)  # (B, E, U)

    def compute_output_shape(self, input_shape):
        """Returns (batch, experts, units)."""
        return (input_shape[0], len(self.interactions), self.units)


def make_experts(experts, units, activation="relu", **kwargs):
    """Returns a bank of experts: `Experts` of a number, else `HeterogeneousExperts`.

    Args:
        experts: Integer, the number of DNN experts, or list of interactions.
        units: Tuple of integers. Layer widths of a DNN expert; interactions are
            projected to the last.
        activation: String or callable of the experts. Defaults to "relu".
        **kwargs: Arguments of every layer, such as `name` and `dtype`.
    """
    units = _errors.check_units("units", units)
    if not units:
        raise ValueError("An expert needs a width. Received: units=().")
    if isinstance(experts, list | tuple):
        return HeterogeneousExperts(experts, units[-1], activation, **kwargs)
    return Experts(experts, units, activation, **kwargs)


def check_interactions(what, given) -> list:
    """Returns a list of interactions with which `make_interactions` makes layers.

    Layers become the dicts in which Keras saves them, so that every expert that is
    made of one has weights of its own, and the list can stand in a config.

    Args:
        what: String. The argument that holds the list.
        given: List. Each item a name for `interaction`, a dict {"name": name,
            **options}, or a layer.

    Raises:
        ValueError: If it is no list, or an item is none of these.
    """
    if not isinstance(given, list | tuple):
        raise ValueError(
            f"{what} must be a list of interactions, such as ['dnn', 'cross_v2']. "
            f"Received: {given!r}."
        )
    items = written(list(given))
    for item in items:
        if isinstance(item, dict) and "class_name" in item:
            continue
        name = item.get("name") if isinstance(item, dict) else item
        if not isinstance(name, str):
            raise ValueError(
                f"Each of {what} must be a name, a layer, or a dict with the key "
                f"'name'. Received: {item!r}."
            )
        _errors.check_choice(f"Each of {what}", name, _INTERACTIONS)
    return items


def check_experts(what, experts, least=1):
    """Returns a number of DNN experts, or what `check_interactions` makes of a list."""
    if isinstance(experts, list | tuple) and experts:
        return check_interactions(what, experts)
    if isinstance(experts, bool) or not isinstance(experts, int) or experts < least:
        rule = "a positive integer" if least else "an integer >= 0"
        raise ValueError(
            f"{what} must be {rule}, or a list of interactions such as "
            f"['dnn', 'cross_v2']. Received: {experts!r}."
        )
    return experts


def make_interactions(given, prefix, dtype, defaults=None) -> list[keras.layers.Layer]:
    """Returns a new layer for each item of a list of interactions.

    Args:
        given: List from `check_interactions`, not empty.
        prefix: String. The layers' names are "{prefix}_0", "{prefix}_1", ...
        dtype: Dtype policy of the layers.
        defaults: Dict {name: options}, for items that do not give them.

    Raises:
        ValueError: If the list is empty.
    """
    if not given:
        raise ValueError(
            "At least one interaction is needed, in a list such as ['dnn', 'cross_v2']."
            f" Received: {given!r}."
        )
    layers = []
    for i, item in enumerate(given):
        if isinstance(item, dict) and "class_name" in item:
            config = {**item["config"], "name": f"{prefix}_{i}"}
            made = keras.saving.deserialize_keras_object({**item, "config": config})
            layers.append(made)
            continue
        options = {"name": item} if isinstance(item, str) else dict(item)
        name = options.pop("name")
        options = {**(defaults or {}).get(name, {}), **options}
        options = {"dtype": dtype, **options, "name": f"{prefix}_{i}"}
        layers.append(_INTERACTIONS[name](**options))
    return layers


def labels_of(given) -> list[str]:
    """Returns the names, in a gate report, of a list from `check_interactions`."""

    def name_of(item):
        if isinstance(item, str):
            return item
        if "class_name" in item:
            return _NAMES.get(item["class_name"], item["class_name"].lower())
        return item["name"]

    return [f"{name_of(item)}_{i}" for i, item in enumerate(given)]


def takes_fields(layer) -> bool:
    """Returns whether a layer reads (batch, fields, dim), not (batch, width)."""
    return getattr(layer, "takes_fields", False)


def build_flat(layer, shape):
    """Builds an interaction for inputs of a shape, flat if it takes no fields."""
    layer.build(tuple(shape) if takes_fields(layer) else flat_shape(shape))


def flat_output_shape(layer, shape):
    """Returns (batch, output width) of `call_flat`."""
    shape = tuple(shape) if takes_fields(layer) else flat_shape(shape)
    return flat_shape(layer.compute_output_shape(shape))


def call_flat(layer, x):
    """Maps (batch, fields, dim) or (batch, width) to (batch, output width).

    A layer that multiplies its input with itself, again and again, makes 30 a million.
    So it reads a row of a root mean square above 1 divided by that. Embeddings and
    scaled numbers lie below, for the most part, and are read as they are.
    """
    x = x if takes_fields(layer) else flat(x)
    return flat(layer(_bounded(x) if getattr(layer, "multiplies", False) else x))


def _bounded(x):
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    axes = tuple(range(1, len(x.shape)))
    square = ops.mean(ops.square(wide), axis=axes, keepdims=True)
    # The root comes last: at 0, it has no gradient.
    return ops.cast(wide * ops.rsqrt(ops.maximum(square, 1.0)), x.dtype)


def flat_shape(shape):
    """Returns (batch, width) of (batch, ...)."""
    return (shape[0], math.prod(shape[1:]))


def flat(x):
    """Maps (batch, ...) to (batch, width)."""
    return x if len(x.shape) == 2 else ops.reshape(x, (-1, flat_shape(x.shape)[1]))
