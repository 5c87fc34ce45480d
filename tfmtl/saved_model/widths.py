"""Lists and vectors of a request, which a server passes on in whatever width they have.

TensorFlow's runtime holds no input against the shape that its signature states.
"""

from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf


def fit(
    inputs: Mapping[str, tf.Tensor],
    specs: Mapping[str, tf.TensorSpec],
    missing: Mapping[tf.DType, Any],
    vectors: Collection[str] = (),
) -> dict[str, tf.Tensor]:
    """Cuts and pads lists to the lengths of `specs`, as those of `tf.Example`s are.

    Args:
        inputs: {feature: tensor of a request}.
        specs: {feature: spec}, (batch,) or (batch, length): of a longer list the last
            values count, a shorter one is padded behind.
        missing: {dtype: what stands for no value}; 0 of others.
        vectors: Features that must have as many values as the spec says.

    Returns:
        {feature: tensor}. The graph fails on a vector of another width.
    """
    widths = {
        name: spec.shape[1] for name, spec in specs.items() if spec.shape.rank == 2
    }
    fitted = dict(inputs)
    for name, width in widths.items():
        given = _width(inputs[name])
        if name in vectors:
            right = tf.debugging.Assert(
                given == width,
                [f"{name} must have {width} numbers a row. Received:", given],
            )
            with tf.control_dependencies([right]):
                fitted[name] = tf.identity(inputs[name])
        else:
            padding = missing.get(specs[name].dtype, 0)
            fitted[name] = _last(inputs[name], given, width, padding)
    return fitted


def _width(values: tf.Tensor) -> tf.Tensor:
    """How many values a row has, by their number: the static shape is the spec's."""
    return tf.size(values) // tf.maximum(tf.shape(values)[0], 1)


def _last(values: tf.Tensor, given: tf.Tensor, length: int, padding: Any) -> tf.Tensor:
    """The last `length` values of each row (batch, given), padded behind."""

    def cut():
        lacking = tf.maximum(length - given, 0)
        fill = tf.constant(padding, values.dtype)
        padded = tf.pad(values, [[0, 0], [0, lacking]], constant_values=fill)
        places = tf.maximum(given - length, 0) + tf.range(length)
        return tf.gather(padded, places, axis=1)

    fitted = tf.cond(given == length, lambda: values, cut)
    return tf.ensure_shape(fitted, (None, length))
