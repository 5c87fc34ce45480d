"""What the values of each column of a sample are: numbers, texts, times, lists."""

import functools
import re
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.data import MISSING_WORDS
from pipeline.logs.values import casting, column_types, texts, times, written_lists
from pipeline.logs.values.casting import Misfits

Kind = Literal["empty", "number", "text", "time", "list", "vector", "nested"]
_FRACTIONS = r"-?\d*\.\d+(e[+-]?\d+)?([\s,;|]+-?\d*\.?\d+(e[+-]?\d+)?)+"
# So few values that are none of their column's kind become dead letters.
_FEW = 1e-3
_ITEMS = 100_000


class Profile(NamedTuple):
    """What is known of a column.

    Attributes:
        name: Its name in the logs.
        kind: "empty" (no value), "number", "text", "time" (a type or text of times),
            "list" (of texts or whole numbers), "vector" (of fractions) or "nested".
        codes: int (rows,). Which of `values` a row has; -1 where it is missing. Of a
            list, none.
        values: The different values as the texts that the pipeline makes of them; of a
            list, those of its items.
        numbers: float64 (rows,). The numbers or the times in seconds, NaN where there
            is none; None where the column has no such.
        length: Items of the longest list; of vectors, 0 where they are not of one
            length.
        misfit: Why a value is none of a category, if too many are not.
        note: What is to be said of how values are written.
    """

    name: str
    kind: Kind
    codes: np.ndarray
    values: list[str]
    numbers: np.ndarray | None = None
    length: int = 0
    misfit: str = ""
    note: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name, in small letters: "userId_7d" is user, id, 7, d."""
        return words(self.name)

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(self.values)

    @property
    def known(self) -> np.ndarray:
        """Where there is a value, bool (rows,)."""
        return self.codes >= 0

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are integers."""
        numbers = self.numbers
        if self.kind != "number" or numbers is None:
            return False
        numbers = numbers[np.isfinite(numbers)]
        return bool(np.all(numbers == np.floor(numbers)))

    @property
    def is_flag(self) -> bool:
        """Whether it is 0 and 1, both."""
        return self.kind == "number" and set(self.values) in ({"0", "1"}, _BOOLEANS)


_BOOLEANS = {"true", "false"}


@functools.cache
def words(name: str) -> tuple[str, ...]:
    """The words of a column's name: see `Profile.words`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[一-鿿])(?=\w)(?![一-鿿])", " ", name)
    return tuple(re.findall(r"[^\W\d_]+|\d+", name.lower()))


def profiles(rows: pa.Table) -> dict[str, Profile]:
    """Looks at each column of a sample.

    Args:
        rows: The sample, as the logs have it.
    """
    return {name: _profile(name, rows.column(name)) for name in rows.column_names}


def _profile(name: str, column: pa.ChunkedArray) -> Profile:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk, in some versions of Arrow
        array = pa.concat_arrays(array.chunks)
    array = column_types.plain(array)
    if column_types.is_list(array.type):
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        if counts.max(initial=0) > 1:
            return _list(name, array, counts)
        array = _cast(name, array, "any")[0]
    if pa.types.is_nested(array.type) or pa.types.is_interval(array.type):
        return Profile(name, "nested", np.full(len(array), -1), [])
    strings, misfits = _cast(name, array, "string")
    misfit = ""
    if len(misfits) > _FEW * len(array):
        misfit = f"{len(misfits):,} rows do not fit: {next(iter(misfits.values()))}"
    codes, values = _encoded(strings)
    if not values:
        return Profile(name, "empty", codes, values, misfit=misfit)
    if pa.types.is_temporal(array.type) and not pa.types.is_duration(array.type):
        return Profile(name, "time", codes, values, times.seconds(array))
    if (numbers := _numbers(name, array)) is not None:
        return Profile(name, "number", codes, values, numbers, misfit=misfit)
    found = np.append(times.seconds(pa.array(values)), np.nan)
    if np.mean(np.isfinite(found[:-1])) > 1 - _FEW:
        return Profile(name, "time", codes, values, found[codes])
    lists = _written_lists(values)
    if lists is not None and _have_fractions(lists):
        widths = pc.unique(pc.list_value_length(lists)).to_pylist()
        width = widths[0] if len(widths) == 1 else 0
        return Profile(name, "vector", codes, values, length=width)
    if lists is None and _are_vectors(values):
        return Profile(name, "vector", codes, values, length=_width(values))
    if lists is not None:
        array = lists.take(pa.array(codes, mask=codes < 0))
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        return _list(name, array, counts)
    return Profile(name, "text", codes, values, misfit=misfit, note=_note(name, array))


def _written_lists(values: list[str]) -> pa.Array | None:
    """What texts in brackets list, if all of them are such."""
    if len(written_lists.rows(pa.array(values, pa.string()))) < len(values):
        return None
    try:
        return pa.array(map(written_lists.parse, values), pa.list_(pa.string()))
    except ValueError:
        return None


def _have_fractions(lists: pa.Array) -> bool:
    """Whether all items are numbers, and some no whole ones."""
    try:
        numbers = [float(item) for item in lists.flatten().to_pylist() if item]
    except ValueError:
        return False
    return any(number % 1 for number in numbers if np.isfinite(number))


def _cast(name: str, array: pa.Array, kind: str) -> tuple[pa.Array, Misfits]:
    batch = pa.RecordBatch.from_arrays([array], [name])
    type_ = casting.own_type(array, kind)
    column = casting.column(name, kind, type_, MISSING_WORDS)
    rows, misfits = casting.cast(batch, [column])
    return rows.column(0), misfits


def _note(name: str, array: pa.Array) -> str:
    batch = pa.RecordBatch.from_arrays([array], [name])
    column = casting.column(name, "string", array.type, MISSING_WORDS)
    if (name, texts.NAMIBIA) not in casting.whole_forms(batch, [column]):
        return ""
    return (
        f"{texts.NAMIBIA} counts as no value; if it is Namibia: data.verbatim: [{name}]"
    )


def _encoded(strings: pa.Array) -> tuple[np.ndarray, list[str]]:
    encoded = strings.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), encoded.dictionary.to_pylist()


def _numbers(name: str, array: pa.Array) -> np.ndarray | None:
    batch = pa.RecordBatch.from_arrays([array], [name])
    column = casting.column(name, "float", array.type, MISSING_WORDS)
    numbers, misfits = casting.cast(batch, [column])
    values = numbers.column(0).to_numpy(zero_copy_only=False).astype(np.float64)
    if len(misfits) > _FEW * len(array) or not np.isfinite(values).any():
        return None
    return values


def _list(name: str, array: pa.Array, counts: np.ndarray) -> Profile:
    codes = np.where(counts > 0, 0, -1)
    longest = int(counts.max(initial=0))
    items = column_types.plain(array.flatten())[:_ITEMS]
    if pa.types.is_floating(items.type):
        same = np.isin(counts, (0, longest)).all()
        return Profile(name, "vector", codes, [], length=longest if same else 0)
    if pa.types.is_nested(items.type):
        return Profile(name, "nested", codes, [])
    _, values = _encoded(_cast(name, items, "string")[0])
    return Profile(name, "list", codes, values, length=longest)


def _are_vectors(values: list[str]) -> bool:
    """Whether texts are lists of fractions, as "[0.1, 0.2]"."""
    some = values[:: -(-len(values) // 1000)]
    return all(re.fullmatch(_FRACTIONS, value.strip("[]() ")) for value in some)


def _width(values: list[str]) -> int:
    """How many numbers each text has; 0 where ExampleGen cannot read them all alike.

    It reads `|` between the numbers.
    """
    widths = {1 + v.count("|") for v in values}
    width = widths.pop() if len(widths) == 1 else 0
    return width if width > 1 else 0
