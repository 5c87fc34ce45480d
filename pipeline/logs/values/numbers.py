"""Numbers from texts, and what is to be said of texts that are none."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.data import MISSING_WORDS

_NOT_NUMBERS = {"", "?", *(word.lower() for word in MISSING_WORDS)}
_WORDS = {"yes", "no", "y", "n", "t", "f", "on", "off"}
_BOOLEANS = {"true": 1.0, "false": 0.0}
_OF_OTHER_COUNTRIES = re.compile(
    r"\s*[+-]?[0-9.]*,[0-9]+\s*|[+-]?[0-9]{1,3}(,[0-9]{3})+\.?[0-9]*"
)


def read(
    strings: pa.Array, missing: tuple[str, ...]
) -> tuple[pa.Array, dict[int, str]]:
    """Reads numbers, each distinct text once.

    Args:
        strings: Arrow string (rows,).
        missing: The texts that stand for no value, beside the usual ones.

    Returns:
        Arrow float64 (rows,), and {row: what is wrong} where there is no number.
    """
    encoded = strings.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    numbers = [None if value in missing else _parse(value) for value in distinct]
    bad = [number is False for number in numbers]
    values = pa.array([None if b else n for n, b in zip(numbers, bad, strict=True)])
    is_bad = pc.fill_null(pa.array(bad, pa.bool_()).take(encoded.indices), False)
    rows = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
    wrong = {int(i): _misfit(strings[i].as_py()) for i in rows}
    return values.cast(pa.float64()).take(encoded.indices), wrong


def _parse(value: str) -> float | bool | None:
    """The number; None where the word stands for a missing one; False for no number."""
    word = value.strip().lower()
    if word in _NOT_NUMBERS:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    try:
        # Python reads 1_000, which no other tool does.
        return False if "_" in word else float(word)
    except ValueError:
        return False


def _misfit(text: str) -> str:
    """Says that a text is no number, and what to do if it is one in some other way."""
    reason = f"{text[:60]!r} is not a number"
    if text.strip().lower() in _WORDS:
        return f"{reason}. For a label, data.labels makes one: column == {text!r}"
    if _OF_OTHER_COUNTRIES.fullmatch(text):
        return f'{reason}. In a CSV, decimal: "," or thousands: "," reads such'
    if re.match(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return f"{reason} but a time. Write the seconds, the hour or the weekday of it"
    return reason
