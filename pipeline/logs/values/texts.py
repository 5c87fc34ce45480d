"""One value, one text: how a value of any type is written as a category, an id, a key.

| value                       | text                                                   |
|-----------------------------|--------------------------------------------------------|
| 5, 5.0, Decimal("5.00")     | 5                                                      |
| true                        | true                                                   |
| 0.2, in 16, 32 or 64 bits   | 0.2: the shortest that gives the number of its type    |
| Decimal("2.50")             | 2.50                                                   |
| a duration                  | its seconds                                            |
| a time of day or a date     | ISO 8601, 07:30:00.25; with a time zone in UTC, 08:00Z |

A text stands as it is written, but for what tools make of such values in a CSV: "5.0"
is 5, "True" and "TRUE" are true, "1.5e+07" is 15000000, and some words are missing.
"007", "1.10", "+5" and "1e5" are no number's text, and stay. The client writes values
by the same rules (`serving.client.encoding`), as the served graph reads texts by them
(`pipeline.components.transform.text_graph`).
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_matches = pc.match_substring_regex

# RE2's syntax, which TensorFlow reads too.
WHOLE = r"^(?:-?(0)|(-?[1-9][0-9]*))\.0+$"
WHOLE_TEXT = r"\1\2"
# How C, Python and NumPy write the numbers that they don't write out.
SCIENTIFIC = r"^-?[0-9](?:\.[0-9]+)?e(?:\+[0-9]{2,3}|-04)$"
# A country among others, and a word for no value.
NAMIBIA = "NA"
BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
# How many of each make a second.
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
# From here on, a float of so many bits does not tell neighbouring integers apart.
_EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
_LOST = r"^-?(?:[0-9]{16,}\.0|[0-9](?:\.[0-9]+)?e\+[0-9]{2,3})$"


def of(array: pa.Array) -> pa.Array:
    """Writes single values that are no texts: any array -> string; NaN is null.

    Raises:
        pa.ArrowException: If values of the type have no text.
    """
    type_ = array.type
    if pa.types.is_floating(type_):
        return _of_floats(array)
    if pa.types.is_duration(type_):
        return _of_floats(seconds(array))
    if pa.types.is_decimal(type_):
        strings = array.cast(pa.string())
        small = pc.match_substring(strings, "E")  # 0E-10 is 0, 1E-7 0.0000001
        strings = _mapped(strings, small, lambda text: f"{Decimal(text):f}")
        return _without_point(strings)
    if pa.types.is_timestamp(type_) and type_.tz:
        array = array.cast(pa.timestamp(type_.unit, "UTC"))
    strings = array.cast(pa.string())
    if pa.types.is_timestamp(type_) or pa.types.is_time(type_):
        # The same time in seconds and in nanoseconds.
        strings = _replaced(strings, r"\.0+(Z?)$", r"\1")
        strings = _replaced(strings, r"(\.[0-9]*[1-9])0+(Z?)$", r"\1\2")
    return strings


def canonical(strings: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Rewrites what tools make of numbers and booleans; what is missing is null.

    Args:
        strings: Arrow string (rows,).
        missing: The texts that stand for no value, beside the empty one.
    """
    data = _bytes(strings)
    if _holds(data, ".0"):
        strings = _without_point(strings)
    if _holds(data, "e+") or _holds(data, "e-04"):
        strings = _mapped(strings, _matches(strings, SCIENTIFIC), _written_out)
    found = [text for text in BOOLEANS if _holds(data, text)]
    if found:
        strings = _mapped(strings, pc.is_in(strings, pa.array(found)), BOOLEANS.get)
    words = [word for word in missing if _holds(data, word)]
    if words:
        strings = null_where(strings, pc.is_in(strings, pa.array(words)))
    return null_where(strings, pc.equal(strings, ""))


def whole_forms(strings: pa.Array) -> set[str]:
    """How whole numbers are written: "5", "5.0", both or neither; and `NAMIBIA`.

    All texts are looked at only if one may be a number with a point, or NA.
    """
    forms = {NAMIBIA} if _has_namibia(strings) else set()
    if _holds(_bytes(strings), ".0") and pc.any(_matches(strings, WHOLE)).as_py():
        forms.add("5.0")
    else:
        strings = strings[:100]
    if pc.any(_matches(strings, r"^-?(?:0|[1-9][0-9]*)$")).as_py():
        forms.add("5")
    return forms


def _has_namibia(strings: pa.Array) -> bool:
    """Whether NA stands among codes of two letters, as countries have."""
    if not _holds(_bytes(strings), NAMIBIA):
        return False
    texts = pc.unique(strings.filter(pc.greater(pc.binary_length(strings), 0)))
    countries = texts.filter(_matches(texts, "^[A-Z]{2}$")).to_pylist()
    return NAMIBIA in countries and 2 < len(countries) > 0.9 * len(texts)


def lost_digits(array: pa.Array) -> np.ndarray:
    """Whole numbers that were floats too large to tell them from the next one.

    Args:
        array: Numbers of any type, or texts.

    Returns:
        int64 (n,): the rows in which there is such a number.
    """
    if pa.types.is_floating(array.type):
        size = np.abs(array.to_numpy(zero_copy_only=False))
        return np.flatnonzero((size >= _EXACT[array.type.bit_width]) & (size < np.inf))
    if array.type != pa.string():
        return np.zeros(0, np.int64)
    data = _bytes(array)
    if not _holds(data, "e+"):
        longest = pc.max(pc.binary_length(array)).as_py() or 0
        if longest < len("1000000000000000.0") or not _holds(data, ".0"):
            return np.zeros(0, np.int64)
    mask = pc.fill_null(_matches(array, _LOST), False)
    rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
    large = [abs(float(array[int(row)].as_py())) >= _EXACT[64] for row in rows]
    return rows[np.array(large, bool)]


def seconds(array: pa.Array) -> pa.Array:
    """Durations of any unit -> float64."""
    numbers = array.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(numbers, UNITS[array.type.unit])


def null_where(array: pa.Array, mask: pa.Array) -> pa.Array:
    """The array, with null where a mask holds."""
    if not pc.any(mask).as_py():
        return array
    return pc.if_else(mask, pa.scalar(None, array.type), array)


def _of_floats(array: pa.Array) -> pa.Array:
    """17.0 -> "17", 0.2 -> "0.2", 1e-05 -> "1e-05"; NaN -> null."""
    with np.errstate(invalid="ignore"):  # as of a NaN that signals
        values = array.to_numpy(zero_copy_only=False).astype(np.float64)
        whole = (values == np.floor(values)) & (np.abs(values) < _EXACT[64])
    integers = pa.array(np.where(whole, values, 0).astype(np.int64))
    strings = integers.cast(pa.string())
    if not whole.all():
        strings = pc.if_else(pa.array(whole), strings, _of_fractions(array))
    return null_where(strings, pa.array(np.isnan(values)))


def _of_fractions(array: pa.Array) -> pa.Array:
    if pa.types.is_float16(array.type):  # Arrow takes them for float32.
        values = map(str, array.to_numpy(zero_copy_only=False))
        return pa.array([repr(float(value)) for value in values], pa.string())
    strings = array.cast(pa.string())
    # Arrow has the right digits, but writes out other numbers than Python does.
    small = pa.array(np.abs(array.to_numpy(zero_copy_only=False)) < 1e-4)
    other = pc.or_(small, pc.match_substring(strings, "e"))
    return _mapped(strings, other, lambda text: repr(float(text)))


def _written_out(text: str) -> str:
    """1.5e+07 -> 15000000."""
    number = float(text)
    is_exact = number.is_integer() and abs(number) < _EXACT[64]
    return str(int(number)) if is_exact else repr(number)


def _mapped(
    strings: pa.Array, mask: pa.Array, function: Callable[[str], str]
) -> pa.Array:
    """Strings with a function of those where a mask holds."""
    mask = pc.fill_null(mask, False)
    if not pc.any(mask).as_py():
        return strings
    encoded = strings.filter(mask).dictionary_encode()
    texts = [v if v is None else function(v) for v in encoded.dictionary.to_pylist()]
    new = pa.array(texts, pa.string()).take(encoded.indices)
    return pc.replace_with_mask(strings, mask, new)


def _without_point(strings: pa.Array) -> pa.Array:
    """5.00 -> 5: as `WHOLE` is replaced by `WHOLE_TEXT`, in a third of the time."""
    mask = pc.fill_null(_matches(strings, WHOLE), False)
    if not pc.any(mask).as_py():
        return strings
    new = pc.ascii_rtrim(pc.ascii_rtrim(strings.filter(mask), "0"), ".")
    new = pc.if_else(pc.equal(new, "-0"), "0", new)
    return pc.replace_with_mask(strings, mask, new)


def _replaced(strings: pa.Array, pattern: str, text: str) -> pa.Array:
    """Strings with a replacement, which costs time only where there is one."""
    mask = pc.fill_null(_matches(strings, pattern), False)
    if not pc.any(mask).as_py():
        return strings
    new = pc.replace_substring_regex(strings.filter(mask), pattern, text)
    return pc.replace_with_mask(strings, mask, new)


def _holds(data: bytes, text: str) -> bool:
    """Whether a text stands in bytes; single bytes are found a hundred times faster."""
    wanted = text.encode()
    return all(wanted[i : i + 1] in data for i in range(len(wanted))) and wanted in data


def _bytes(strings: pa.Array) -> bytes:
    """The bytes of all strings, one behind the other."""
    _, offsets, data = strings.buffers()
    if data is None or not len(strings):
        return b""
    ends = np.frombuffer(offsets, np.int32)[strings.offset :][: len(strings) + 1]
    return data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
