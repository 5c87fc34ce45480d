"""Serialized `tf.Example`s -> the inputs of a model, whichever way values are written.

A log may hold an id as `int64_list`, `float_list` or `bytes_list`, and a price too.
`tf.io.parse_example` takes but one of them for a feature. Where the bytes of a batch
look as if another stood there, the messages are decoded level by level, which takes ten
times as long:

    Example.features -> Features.feature, a map -> Feature -> one of three lists
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

# What a Feature may have, in the order of their tags: message, type of its values.
_LISTS = {
    "bytes_list": ("tensorflow.BytesList", tf.string),
    "float_list": ("tensorflow.FloatList", tf.float32),
    "int64_list": ("tensorflow.Int64List", tf.int64),
}
# Texts that a log may have where a number is wanted.
_BOOLEANS = {"(?i)^true$": "1", "(?i)^false$": "0"}
_NO_NUMBER = r"(?i)^\s*(?:\?|na|n/a|#n/a|<na>|nan|null|none|\\n)?\s*$"
_EXACT = 2.0**24  # From here on, a float32 does not tell neighbouring integers apart.


def parse(
    examples: tf.Tensor,
    specs: Mapping[str, tf.TensorSpec],
    missing: Mapping[tf.DType, Any],
    vectors: Collection[str] = (),
) -> dict[str, tf.Tensor]:
    """Reads features; what an example leaves out is missing.

    Where a string is wanted, a number becomes its text: a whole number without a point,
    another by the fewest digits that tell it from its neighbours.

    Args:
        examples: string (batch,). Serialized `tf.Example`s.
        specs: {feature: spec}, (batch,) or (batch, length): of a longer list the last
            values count, a shorter one is padded behind.
        missing: {dtype: what stands for no value}; 0 of others.
        vectors: Features of which an example has as many values as the spec says, or
            none.

    Returns:
        {feature: tensor}.
    """
    other = tf.strings.regex_full_match(examples, _of_another_kind(specs))
    groups: dict[tf.DType, list[str]] = {}  # Of one value each.
    for name, spec in specs.items():
        if spec.shape.rank == 1:
            groups.setdefault(spec.dtype, []).append(name)

    def stacked(found):
        # A server prepares each output of a condition, and there may be hundreds.
        single = [tf.stack([found.pop(n) for n in names]) for names in groups.values()]
        return single, found  # (n, batch) each, {feature: (batch, length)}

    single, found = tf.cond(
        tf.reduce_any(other),
        lambda: stacked(_decoded(examples, specs, missing, vectors)),
        lambda: stacked(_parsed(examples, specs, missing, vectors)),
    )
    for names, values in zip(groups.values(), single, strict=True):
        found |= zip(names, tf.unstack(values, num=len(names)), strict=True)
    for name, spec in specs.items():
        found[name].set_shape(spec.shape)
    return {name: found[name] for name in specs}


def _of_another_kind(specs: Mapping[str, tf.TensorSpec]) -> str:
    """A pattern of the bytes of examples in which a list is not of the wanted type.

    Such bytes may stand in a value too: then the batch is decoded, to the same end.
    """
    tags = {
        dtype: tag
        for tag, (_, dtype) in zip("\x0a\x12\x1a", _LISTS.values(), strict=True)
    }
    wanted: dict[tf.DType, list[str]] = {}
    for name, spec in specs.items():
        size = len(name.encode())
        length = rf"\x{size:02x}" if size < 128 else r"\C{2}"
        wanted.setdefault(spec.dtype, []).append(length + re.escape(name))
    patterns = []
    for dtype, keys in wanted.items():
        others = "".join(
            rf"\x{ord(tag):02x}" for of, tag in tags.items() if of != dtype
        )
        # The length of the Feature, in one byte or more; the tag of a list. Behind a
        # long one stand its own length, and the tag of its first value.
        short = rf"[\x00-\x7f][{others}]"
        long = rf"\C{{1,2}}[\x01-\x7f][{others}](?:\C{{1,2}}[\x01-\x7f]|[\x7c-\x7f])"
        long += r"[\x08\x0a\x0d]"
        patterns.append(rf"\x0a(?:{'|'.join(keys)})\x12(?:{short}|{long})")
    return rf"\C*(?:{'|'.join(patterns)})\C*"


def _parsed(
    examples: tf.Tensor,
    specs: Mapping[str, tf.TensorSpec],
    missing: Mapping,
    vectors: Collection[str] = (),
) -> dict[str, tf.Tensor]:
    """Reads features of the types that the specs name."""
    single = [name for name, spec in specs.items() if spec.shape.rank == 1]
    lists = [name for name, spec in specs.items() if spec.shape.rank == 2]
    types = [specs[name].dtype for name in lists]
    default = {
        dtype: tf.constant(missing.get(dtype, 0), dtype)
        for dtype in {spec.dtype for spec in specs.values()}
    }
    # `tf.io.parse_example` makes two ops more for each feature.
    parsed = tf.raw_ops.ParseExampleV2(
        serialized=examples,
        names=[],
        sparse_keys=[],
        dense_keys=single,
        ragged_keys=lists,
        dense_defaults=[default[specs[name].dtype] for name in single],
        num_sparse=0,
        sparse_types=[],
        ragged_value_types=types,
        ragged_split_types=[tf.int64] * len(lists),
        dense_shapes=[()] * len(single),
    )
    found = dict(zip(single, parsed.dense_values, strict=True))
    ragged = zip(parsed.ragged_values, parsed.ragged_row_splits, strict=True)
    for name, (values, splits) in zip(lists, ragged, strict=True):
        length, dtype = specs[name].shape[1], specs[name].dtype
        rows = tf.RaggedTensor.from_row_splits(values, splits, validate=False)
        checks = _checks(rows.row_lengths(), name, length, vectors)
        with tf.control_dependencies(checks):  # the latest values, padded behind
            found[name] = rows[:, -length:].to_tensor(
                default[dtype], shape=(None, length)
            )
    return found


def _decoded(
    examples: tf.Tensor,
    specs: Mapping[str, tf.TensorSpec],
    missing: Mapping,
    vectors: Collection[str] = (),
) -> dict[str, tf.Tensor]:
    """Reads features, each in whichever of the three lists it is."""
    # Where it is no tf.Example, this fails with the caller's error, not a data loss. It
    # finds nothing, but is used, lest it be left out as an operation without effect.
    nothing = tf.io.parse_example(examples, {"": tf.io.VarLenFeature(tf.string)})[""]
    # One more, as none cannot be decoded.
    examples = tf.concat([examples, nothing.values[:0], [""]], 0)
    groups: dict[tuple, list[str]] = {}
    for name, spec in specs.items():
        groups.setdefault((spec.dtype, spec.shape.rank), []).append(name)
    names = [name for group in groups.values() for name in group]
    features = tf.split(_features(examples, names), list(map(len, groups.values())), 1)
    found = {}
    for ((dtype, rank), group), part in zip(groups.items(), features, strict=True):
        sizes, values = _values(part, dtype)  # (batch + 1, n), (.., longest)
        sizes, values = sizes[:-1], values[:-1]
        default = tf.constant(missing.get(dtype, 0), dtype)
        if rank == 1:
            check = tf.debugging.assert_less_equal(
                sizes, 1, f"tf.Example: one value is taken of each of {group}"
            )
            with tf.control_dependencies([check]):
                last = tf.unstack(_last(values, sizes, 1, default)[:, :, 0], axis=1)
            found |= zip(group, last, strict=True)
        else:
            for i, name in enumerate(group):
                length = specs[name].shape[1]
                with tf.control_dependencies(
                    _checks(sizes[:, i], name, length, vectors)
                ):
                    found[name] = _last(values[:, i], sizes[:, i], length, default)
    return {name: found[name] for name in specs}


def _checks(
    sizes: tf.Tensor, name: str, dim: int, vectors: Collection[str]
) -> list[tf.Operation]:
    """What fails unless each example has a whole vector, or none."""
    if name not in vectors:
        return []
    whole = tf.reduce_all((sizes == 0) | (tf.cast(sizes, tf.int64) == dim))
    message = f"tf.Example: {name} takes {dim} numbers, or none. Numbers of each:"
    return [tf.debugging.Assert(whole, [message, sizes])]


def _features(examples: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
    """Serialized `Feature`s (batch, names); "" for one that an example lacks."""
    (features,) = _fields(examples, "tensorflow.Example", ["features"])
    _, (entries,) = tf.io.decode_proto(
        features, "tensorflow.Features", ["feature"], [tf.string]
    )  # (batch, features of an example)
    # One behind them, as an example may have none.
    entries = tf.pad(entries, [[0, 0], [0, 1]], constant_values="")
    keys, values = _fields(
        entries, "tensorflow.Features.FeatureEntry", ["key", "value"]
    )
    # To compare numbers takes a tenth of the time of comparing texts.
    wanted = tf.constant(list(names))
    same = _hash(keys)[:, :, tf.newaxis] == _hash(wanted)  # (batch, features, names)
    place = tf.argmax(same, axis=1)
    found = tf.gather(keys, place, batch_dims=1) == wanted
    return tf.where(found, tf.gather(values, place, batch_dims=1), "")


def _hash(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(texts, 2**62)


def _fields(messages: tf.Tensor, kind: str, names: list[str]) -> list[tf.Tensor]:
    """Fields that are there once or, as "", not at all."""
    _, fields = tf.io.decode_proto(messages, kind, names, [tf.string] * len(names))
    behind = [[0, 0]] * messages.shape.rank + [[0, 1]]
    return [tf.pad(field, behind, constant_values="")[..., 0] for field in fields]


def _values(features: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """The values in `Feature`s (batch, n): how many, and (batch, n, longest)."""
    lists = _fields(features, "tensorflow.Feature", list(_LISTS))
    sizes, parts = [], []
    for serialized, (kind, of) in zip(lists, _LISTS.values(), strict=True):
        size, (values,) = tf.io.decode_proto(serialized, kind, ["value"], [of])
        sizes.append(size[..., 0])
        parts.append(_as(values, dtype))
    longest = tf.reduce_max([tf.shape(part)[2] for part in parts])
    empty = "" if dtype == tf.string else 0
    result = None
    for size, part in zip(sizes, parts, strict=True):
        behind = [[0, 0], [0, 0], [0, longest - tf.shape(part)[2]]]
        part = tf.pad(part, behind, constant_values=tf.constant(empty, dtype))
        there = size[..., tf.newaxis] > 0
        result = part if result is None else tf.where(there, part, result)
    return tf.add_n(sizes), result


def _as(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Values as the model takes them: as texts, or as numbers."""
    if values.dtype == dtype:
        return values
    if dtype == tf.string:
        floats = values.dtype == tf.float32
        return _float_text(values) if floats else tf.as_string(values)
    if dtype.is_floating and values.dtype == tf.string:
        for text, number in _BOOLEANS.items():
            values = tf.strings.regex_replace(values, text, number)
        return tf.strings.to_number(
            tf.strings.regex_replace(values, _NO_NUMBER, "nan"), dtype
        )
    if dtype.is_integer and values.dtype != tf.int64:  # Not 5.5, nor "a".
        texts = _as(values, tf.string)
        texts = tf.where(texts == "", "0", texts)
        return tf.cast(tf.strings.to_number(texts, tf.int64), dtype)
    return tf.cast(values, dtype)


def _float_text(values: tf.Tensor) -> tf.Tensor:
    """float32 -> its shortest text; "" for NaN, and for an id that has lost digits."""
    size = tf.abs(values)
    whole = values == tf.floor(values)
    integers = tf.as_string(tf.cast(tf.where(size < _EXACT, values, 0), tf.int64))
    texts = tf.as_string(values, precision=9, shortest=True)
    for digits in (8, 7, 6):
        fewer = tf.as_string(values, precision=digits, shortest=True)
        same = tf.strings.to_number(fewer, tf.float32) == values
        texts = tf.where(same, fewer, texts)
    lost = (whole & (size >= _EXACT) & tf.math.is_finite(values)) | (values != values)
    return tf.where(lost, "", tf.where(whole & (size < _EXACT), integers, texts))


def _last(
    values: tf.Tensor, sizes: tf.Tensor, length: int, default: tf.Tensor
) -> tf.Tensor:
    """The last values of lists (..., longest), padded behind: (..., length)."""
    kept = tf.minimum(sizes, length)[..., tf.newaxis]
    step = tf.range(length)
    place = sizes[..., tf.newaxis] - kept + step
    inside = step < kept
    values = tf.pad(
        values, [[0, 0]] * sizes.shape.rank + [[0, 1]], constant_values=default
    )
    rank = sizes.shape.rank
    last = tf.gather(values, tf.where(inside, place, 0), batch_dims=rank)
    return tf.where(inside, last, default)
