"""Lists and vectors of a request, which a server passes on in whatever width they have.

TensorFlow's runtime holds no input against the shape that its signature states.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfmtl.features import Feature, Vector


def fit(
    inputs: Mapping[str, tf.Tensor],
    specs: Mapping[str, tf.TensorSpec],
    missing: Mapping[tf.DType, Any],
    features: Sequence[Feature],
) -> dict[str, tf.Tensor]:
    """Cuts and pads lists to the lengths of `specs`, as those of `tf.Example`s are.

    Args:
        inputs: {feature: tensor of a request}.
        specs: {feature: spec}, (batch,) or (batch, length): of a longer list the last
            values count, but for missing ones behind, with which a client may have
            padded it; a shorter one is padded behind.
        missing: {dtype: what stands for no value}; 0 of others.
        features: The model's. Vectors must have as many values as their spec says. A
            side field is cut where its sequence is.

    Returns:
        {feature: tensor}. The graph fails on a vector of another width.
    """
    vectors = {f.name for f in features if isinstance(f, Vector)}
    of = {f.name: getattr(f, "side_of", None) or f.name for f in features}
    of |= {f.weights: f.name for f in features if getattr(f, "weights", None)}
    lists: dict[str, dict[str, int]] = {}  # those that are cut at one place
    fitted = dict(inputs)
    for name, spec in specs.items():
        if spec.shape.rank != 2:
            continue
        width = spec.shape[1]
        if name not in vectors:
            lists.setdefault(of.get(name, name), {})[name] = width
            continue
        given = _width(inputs[name])
        right = tf.debugging.Assert(
            given == width,
            [f"{name} must have {width} numbers a row. Received:", given],
        )
        with tf.control_dependencies([right]):
            fitted[name] = tf.identity(inputs[name])
    for widths in lists.values():
        together = {name: inputs[name] for name in widths}
        nothing = {name: missing.get(specs[name].dtype, 0) for name in widths}
        for name, width in widths.items():
            fitted[name] = _last(name, together, width, nothing)
    return fitted


def _width(values: tf.Tensor) -> tf.Tensor:
    """How many values a row has, by their number: the static shape is the spec's."""
    return tf.size(values) // tf.maximum(tf.shape(values)[0], 1)


def _last(
    name: str, together: Mapping[str, tf.Tensor], length: int, nothing: Mapping
) -> tf.Tensor:
    """The last `length` values of each row (batch, given), padded behind.

    Args:
        name: Which of the lists.
        together: {name: list}; behind the last value that one of them has, all end.
        length: How many values.
        nothing: {name: what stands for no value}.
    """
    values = together[name]
    given = _width(values)

    def pad():
        fill = tf.constant(nothing[name], values.dtype)
        padded = tf.pad(values, [[0, 0], [0, length - given]], constant_values=fill)
        return padded[:, :length]  # of no rows, `given` is 0 whatever their width

    def cut():
        batch = tf.shape(values)[0]
        ends = [
            tf.cond(  # `rank` may have one of them once and another for each candidate
                tf.shape(rows)[0] == batch,
                functools.partial(_end, rows, nothing[other]),
                lambda: tf.zeros([batch], tf.int32),
            )
            for other, rows in together.items()
        ]
        end = tf.reduce_max(tf.stack(ends), 0)  # (batch,)
        first = tf.clip_by_value(end - length, 0, given - length)
        places = first[:, None] + tf.range(length)  # (batch, length)
        return tf.gather(values, places, axis=1, batch_dims=1)

    fitted = tf.case(
        [(given < length, pad), (given > length, cut)], default=lambda: values
    )
    return tf.ensure_shape(fitted, (None, length))


def _end(values: tf.Tensor, nothing: Any) -> tf.Tensor:
    """How long each list (batch, given) is without missing values behind: (batch,)."""
    is_nan = values.dtype.is_floating and nothing != nothing
    is_there = ~tf.math.is_nan(values) if is_nan else values != nothing
    places = tf.cumsum(tf.ones_like(values, tf.int32), 1)  # 1, 2 ... in each row
    return tf.reduce_max(tf.where(is_there, places, 0), 1)
