"""Vocabularies: which values have an id, in which order, and the table in the graph.

Ids run from 1 in the order (count descending, value ascending), so that they don't
depend on how the counting was spread; id 0 is for missing and unknown values.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from pipeline.config.features import VocabularyConfig

# A vocabulary file has one value a line, and TensorFlow drops "\r" as it reads one.
# The backslash comes first, as the others bring new ones.
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


def read(counts: Sequence[Path], limits: VocabularyConfig) -> pa.BinaryArray:
    """Reads counted values and returns those that get an id, in order of the ids.

    Args:
        counts: Folders, one for each column, of Parquet shards with columns `value` and
            `count`, each value once.
        limits: The least count and the most values, of all columns together.
    """
    tables = [pq.read_table(folder, columns=["value", "count"]) for folder in counts]
    table = tables[0]
    if len(tables) > 1:
        sums = pa.concat_tables(tables).group_by("value").aggregate([("count", "sum")])
        table = sums.rename_columns(["value", "count"])
    values = table["value"].cast(pa.binary())
    known = pc.and_(
        pc.greater_equal(table["count"], limits.min_count),
        pc.greater(pc.binary_length(values), 0),  # "" is how a missing value is fed
    )
    table = pa.table({"value": values, "count": table["count"]}).filter(known)
    table = table.sort_by([("count", "descending"), ("value", "ascending")])
    return table["value"][: limits.max_size].combine_chunks()


def merge(
    values: pa.BinaryArray, served: Sequence[bytes], limits: VocabularyConfig
) -> tuple[pa.BinaryArray, int]:
    """Values with an id, and behind them those that a served model knows besides.

    Args:
        values: Of the train split, in order of the ids.
        served: As they stand in the file of the served model. What has a backslash is
            left out: nobody can tell whether it is escaped there.
        limits: The most values, of which those of the train split come first.

    Returns:
        All values, and how many of the served ones are dropped.
    """
    further = pa.array(served, pa.binary())
    further = further.filter(pc.invert(pc.is_in(further, values)))
    plain = further.filter(pc.invert(pc.match_substring(further, "\\")))
    room = limits.max_size and max(limits.max_size - len(values), 0)
    kept = plain[:room]
    return pa.concat_arrays([values, kept]), len(further) - len(kept)


class Vocabulary:
    """The lookup table of one vocabulary: string tensor -> int64 ids.

    Args:
        values: The values with ids 1, 2, ...; at least one.
        path: Where to write the table's file. A SavedModel takes a copy along.
    """

    def __init__(self, values: pa.BinaryArray, path: Path):
        self.size = len(values) + 1
        # Costs time at each lookup, so only where some value needs it.
        self._escaped = bool(pc.any(pc.match_substring_regex(values, "[\r\n]")).as_py())
        with path.open("wb") as file:
            for start in range(0, len(values), 1_000_000):
                lines = values[start : start + 1_000_000].to_pylist()
                file.writelines(self._line(value) + b"\n" for value in lines)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                value_index_offset=1,
            ),
            default_value=0,
        )

    def lookup(self, values: tf.Tensor) -> tf.Tensor:
        """The ids of string values of any shape; 0 for those without one."""
        if self._escaped:
            for character, code in _ESCAPES.items():
                # In a replacement, RE2 reads two backslashes as one.
                rewrite = code.replace("\\", "\\\\")
                pattern = "\\\\" if character == "\\" else character
                values = tf.strings.regex_replace(values, pattern, rewrite)
        return self.table.lookup(values)

    def _line(self, value: bytes) -> bytes:
        if self._escaped:
            for character, code in _ESCAPES.items():
                value = value.replace(character.encode(), code.encode())
        return value
