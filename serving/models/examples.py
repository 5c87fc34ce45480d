"""The tf.Examples of requests: with what they share, or made of raw features."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.input_pb2 import Input


def with_context(
    context: tf.train.Example, examples: Sequence[tf.train.Example]
) -> list[bytes]:
    """Serializes examples, each with the context features that it lacks."""
    merged = []
    for example in examples:
        whole = tf.train.Example()
        whole.CopyFrom(context)
        for name, feature in example.features.feature.items():
            whole.features.feature[name].CopyFrom(feature)
        merged.append(whole.SerializeToString())
    return merged


def of_input(given: Input) -> list[bytes]:
    """Gives the serialized examples of a classify or regress request's message."""
    if given.WhichOneof("kind") == "example_list_with_context":
        shared = given.example_list_with_context
        return with_context(shared.context, shared.examples)
    return [example.SerializeToString() for example in given.example_list.examples]


def serialized(raw: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Yields raw rows as serialized `tf.Example`s; what is missing is left out.

    Args:
        raw: {feature: array (rows,) or (rows, length)}: bytes as objects, "" missing
            or, at the end of a row, padding; floats, all of them NaN missing; or
            integers.
    """
    for row in range(len(next(iter(raw.values())))):
        example = tf.train.Example()
        for name, array in raw.items():
            values, kind = np.atleast_1d(array[row]), "int64_list"
            if array.dtype == object:
                length = np.flatnonzero(values != b"").max(initial=-1) + 1
                values, kind = values[:length], "bytes_list"
            elif array.dtype.kind == "f":
                values = values[:0] if np.isnan(values).all() else values
                kind = "float_list"
            if len(values):
                feature = example.features.feature[name]
                getattr(feature, kind).value.extend(values.tolist())
        yield example.SerializeToString()
