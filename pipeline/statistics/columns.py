"""What the values of a column tell, in parts that add up.

Every class here and in `splits` has `of`, which reads a batch, and `merge`, which is
associative and commutative without rounding: sums are fractions. So the results do not
depend on the order in which a runner brings the parts together. `len` is a part's size
in memory, in entries.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import weighted
from pipeline.logs.values.column_types import is_list
from pipeline.statistics.sketch import Sketch, sketch
from pipeline.statistics.sketch import merge as merge_sketches

# What is greater is infinite as a model's float32 input.
_LARGEST = float(np.finfo(np.float32).max)
SPECIAL = ("nan", "inf", "-inf", "zero", "one", "fraction")


@dataclass(frozen=True)
class Sums:
    """Counts, and sums of numbers as fractions."""

    @classmethod
    def merge(cls, parts: Sequence[Sums]) -> Sums:
        """Adds up."""
        fields = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(sum, fields))


@dataclass(frozen=True)
class Moments(Sums):
    """Count, sum and sum of squares of finite numbers; rounded within a batch only."""

    count: int
    total: Fraction
    squares: Fraction

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Reads finite float64 values (rows,)."""
        # Centred, since x^2 of a timestamp has no digits left for the variance.
        centre = float(values.mean()) if len(values) else 0.0
        offset = values - centre
        rows, shift = len(values), Fraction(centre)
        rest = Fraction(float(offset.sum()))
        squares = Fraction(float(np.square(offset).sum()))
        return cls(
            rows,
            rows * shift + rest,
            squares + 2 * shift * rest + rows * shift * shift,
        )

    @property
    def mean(self) -> float:
        """The mean; 0 of no values."""
        return float(self.total / max(self.count, 1))

    @property
    def std(self) -> float:
        """The population standard deviation; 0 of no values."""
        count = max(self.count, 1)
        return math.sqrt(max(self.squares / count - (self.total / count) ** 2, 0))


@dataclass(frozen=True)
class NumericStatistics:
    """A numeric column. Moments and quantiles are those of its finite values.

    Attributes:
        special: How many values are each of `SPECIAL`.
        moments: Of the values.
        log1p: Moments of log(1 + max(value, 0)).
        sketch: For quantiles.
    """

    special: Counter[str]
    moments: Moments
    log1p: Moments
    sketch: Sketch

    @classmethod
    def of(cls, column: pa.Array) -> NumericStatistics:
        """Reads a numeric or boolean column; nulls are left out."""
        if pa.types.is_boolean(column.type):  # Arrow casts no boolean to float64.
            column = column.cast(pa.int8())
        column = column.drop_null().cast(pa.float64(), safe=False)
        values = column.to_numpy(zero_copy_only=False)
        is_finite = np.abs(values) <= _LARGEST
        finite = values[is_finite]
        special = {
            "nan": np.isnan(values),
            "inf": values > _LARGEST,
            "-inf": values < -_LARGEST,
            "zero": values == 0,
            "one": values == 1,
            "fraction": is_finite & (values != np.floor(values)),
        }
        return cls(
            Counter({name: int(mask.sum()) for name, mask in special.items()}),
            Moments.of(finite),
            Moments.of(np.log1p(np.maximum(finite, 0))),
            sketch(finite),
        )

    @classmethod
    def merge(cls, parts: Sequence[NumericStatistics]) -> NumericStatistics:
        """Adds up."""
        return cls(
            sum((part.special for part in parts), Counter()),
            Moments.merge([part.moments for part in parts]),
            Moments.merge([part.log1p for part in parts]),
            merge_sketches([part.sketch for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.sketch.count)


@dataclass(frozen=True)
class StringStatistics:
    """Distinct values of a string column and how often each occurs.

    Attributes:
        value: Arrow binary (distinct,).
        count: Arrow int64 (distinct,).
    """

    value: pa.Array
    count: pa.Array

    @classmethod
    def of(cls, column: pa.Array) -> StringStatistics:
        """Reads a string or binary column; nulls are left out."""
        counted = column.drop_null().value_counts()
        value = counted.field("values")
        if isinstance(value.type, pa.DictionaryType):
            value = value.dictionary_decode()
        return cls(value.cast(pa.binary()), counted.field("counts"))

    @classmethod
    def merge(cls, parts: Sequence[StringStatistics]) -> StringStatistics:
        """Adds up."""
        table = pa.table(
            {
                "value": pa.chunked_array([p.value for p in parts], pa.binary()),
                "count": pa.chunked_array([p.count for p in parts], pa.int64()),
            }
        )
        grouped = table.group_by("value", use_threads=False)
        grouped = grouped.aggregate([("count", "sum")])
        return cls(
            grouped["value"].combine_chunks(), grouped["count_sum"].combine_chunks()
        )

    def buckets(self, buckets: int) -> Iterator[tuple[int, StringStatistics]]:
        """Yields (bucket, its values); the bucket of a value is the same everywhere."""
        hashes = map(zlib.crc32, self.value.to_numpy(zero_copy_only=False))
        bucket = np.fromiter(hashes, np.uint32, len(self.value)) % buckets
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=buckets))
        for index, rows in enumerate(np.split(order, ends[:-1])):
            if len(rows):
                yield index, self._take(rows)

    def most_frequent_first(self) -> StringStatistics:
        """The same in the one order: count descending, then value ascending."""
        table = pa.table({"value": self.value, "count": self.count})
        keys = [("count", "descending"), ("value", "ascending")]
        return self._take(pc.sort_indices(table, keys))

    def _take(self, rows: np.ndarray | pa.Array) -> StringStatistics:
        # No slice, which is pickled with all that it is a slice of.
        return StringStatistics(self.value.take(rows), self.count.take(rows))

    def __len__(self) -> int:
        return len(self.value)


def summarize(column: pa.Array) -> NumericStatistics | StringStatistics | None:
    """Reads a column, or the values in a column of lists; None of other types."""
    while is_list(column.type):  # a list of lists, too
        column = pc.list_flatten(column)
    what = kind(column.type)
    if what in ("INT", "FLOAT"):
        if isinstance(column.type, pa.DictionaryType):
            column = column.dictionary_decode()
        return NumericStatistics.of(column)
    return StringStatistics.of(column) if what == "STRING" else None


def norms(column: pa.ListArray) -> pa.Array:
    """The length of each vector; of a column whose lists have one width, or are null.

    How far numbers of one vector lie apart says nothing of the vectors.
    """
    known = column.drop_null()
    numbers = pc.list_flatten(known).to_numpy(zero_copy_only=False)
    vectors = numbers.reshape(len(known), -1 if len(known) else 0)
    return pa.array(np.linalg.norm(vectors.astype(np.float64), axis=1))


def numbers(column: pa.ListArray) -> pa.Array:
    """The numbers in a column of lists of them, as texts."""
    written = pc.list_flatten(column)
    return pc.if_else(pc.equal(written, ""), None, written).cast(pa.float64())


def unweighted(column: pa.ListArray) -> pa.Array:
    """The values of a column of values with weights."""
    return weighted.apart(pc.list_flatten(column))[0]


def kind(type_: pa.DataType) -> str:
    """INT, FLOAT, STRING or BYTES, the last for what is neither number nor text.

    Of lists and dictionaries, that of their values.
    """
    if is_list(type_) or isinstance(type_, pa.DictionaryType):
        return kind(type_.value_type)
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_):
        return "INT"
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "FLOAT"
    text = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
    return "STRING" if type_ in text else "BYTES"
