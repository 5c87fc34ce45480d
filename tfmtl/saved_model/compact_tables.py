"""Embedding tables of a served model in two bytes a number, or one."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfmtl import _errors
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding

TYPES = ("float32", "bfloat16", "int8")
_PART = 65_536  # rows that are rounded at a time
_END = "/.ATTRIBUTES/VARIABLE_VALUE"


def round_tables(model, dtype: str) -> None:
    """Gives a model's tables the values that they have in an export of a dtype.

    So the model predicts what `tfmtl.export(model, path, tables=dtype)` serves.

        bfloat16   the nearest number of 8 significant bits
        int8       s_r round(x / s_r) in row r, with s_r = max |x| / 127 over the row

    Args:
        model: A built model.
        dtype: "float32", which changes nothing, "bfloat16" or "int8".
    """
    _errors.check_choice("A type of tables", dtype, TYPES)
    if dtype == "float32":
        return
    for layer in _embeddings(model):
        for table in layer.tables.values():
            for start in range(0, table.shape[0], _PART):
                part = table.value[start : start + _PART]
                rounded = _Compact(part.numpy(), dtype).look_up(tf.range(len(part)))
                part.assign(tf.cast(rounded, table.dtype))


@contextlib.contextmanager
def compact_tables(model, dtype: str) -> Iterator[dict[int, tf.train.Checkpoint]]:
    """In this context, a model looks up rows of compact copies of its tables.

    Yields:
        {id of a table: what a SavedModel holds in its place}.
    """
    _errors.check_choice("tables", dtype, TYPES)
    embeddings = _embeddings(model) if dtype != "float32" else []
    kept = {}
    try:
        for layer in embeddings:
            layer.compact = {
                name: _Compact(table.value.numpy(), dtype)
                for name, table in layer.tables.items()
            }
            for name, table in layer.tables.items():
                kept[id(table)] = layer.compact[name].saved
        yield kept
    finally:
        for layer in embeddings:
            layer.compact = {}


def read_variable(reader, name: str) -> np.ndarray:
    """Returns the values of a variable of a SavedModel, also of a compact table.

    Args:
        reader: What `tf.train.load_checkpoint` returns.
        name: String. Where the variable is, such as "variables/3".
    """
    name, end = name.removesuffix(_END), _END
    if reader.has_tensor(name + end):
        return reader.get_tensor(name + end)
    values = reader.get_tensor(f"{name}/values{end}").astype("float32")
    if reader.has_tensor(f"{name}/scales{end}"):
        values *= reader.get_tensor(f"{name}/scales{end}")
    return values


class _Compact:
    """A table of which each number takes less than four bytes."""

    def __init__(self, values, dtype):
        values = np.float32(values)
        self.scales = None
        if dtype == "int8":
            scales = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
            scales[scales == 0] = 1
            values = np.rint(values / scales)
            self.scales = tf.Variable(scales, trainable=False)
        self.values = tf.Variable(tf.cast(values, dtype), trainable=False)
        parts = {"values": self.values, "scales": self.scales}
        self.saved = tf.train.Checkpoint(
            **{name: part for name, part in parts.items() if part is not None}
        )

    def look_up(self, rows):
        """Returns the float32 values of rows."""
        found = tf.cast(tf.gather(self.values, rows), tf.float32)
        return found if self.scales is None else found * tf.gather(self.scales, rows)


def _embeddings(model):
    return [x for x in model._flatten_layers() if isinstance(x, FeatureEmbedding)]
