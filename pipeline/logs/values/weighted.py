"""Values with weights, or the entries of a map, written as texts: "value:weight".

The weight stands behind the last colon; without one it is 1. A weight of 0 leaves its
value out, and one below 0 or infinite is none. The number of a map's entry may have any
sign, but must be there.
"""

import ast
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import numbers

# Of a text with a weight: what is not the value, and what is not the weight.
WEIGHT = r":[^:]*$"
VALUE = r"^(?s:.*):"
_BRACES = r"(?s)^\s*\{.*\}\s*$"


def of_mapping(row: Mapping[str, Any] | list[tuple[str, Any]] | None) -> list | None:
    """The texts of {value: weight}, or of pairs; null weights are no entries.

    >>> of_mapping({"a": 0.5, "b": None})
    ['a:0.5']
    """
    if row is None:
        return None
    pairs = row.items() if isinstance(row, Mapping) else row
    return [f"{value}:{weight}" for value, weight in pairs if weight is not None]


def written_maps(strings: pa.Array) -> dict[int, list]:
    """The texts of maps that are texts themselves, as JSON or Python writes them.

    >>> written_maps(pa.array(["a:0.5", "{'a': 0.5, 'b': 1}", '{"c": null}']))
    {1: ['a:0.5', 'b:1'], 2: []}
    """
    braces = pc.match_substring_regex(strings, _BRACES).fill_null(False)
    found = {}
    for row in np.flatnonzero(braces.to_numpy(zero_copy_only=False)):
        text = strings[int(row)].as_py().strip()
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(value, dict):
                found[int(row)] = of_mapping(value)
                break
    return found


def apart(items: pa.Array, alone: str = "1") -> tuple[pa.Array, pa.Array]:
    """Texts as values, and as texts of their weights, `alone` of one without.

    >>> apart(pa.array(["a:0.5", "x:y:2", "b"]))[0].to_pylist()
    ['a', 'x:y', 'b']
    """
    has_weight = pc.match_substring(items, ":")
    values = pc.replace_substring_regex(items, WEIGHT, "")
    weights = pc.replace_substring_regex(items, VALUE, "")
    return values, pc.if_else(has_weight, weights, alone)


def joined(
    values: pa.Array, weights: pa.Array, of_map: bool = False
) -> tuple[pa.Array, dict[int, str]]:
    """Texts of values with weights, and {item: what is wrong}.

    A value that is missing is an empty text. A weight below 0 is wrong, but for the
    numbers of a map.
    """
    weights = weights.cast(pa.string())
    try:
        found, wrong = weights.cast(pa.float64()), {}
    except pa.ArrowInvalid:
        found, wrong = numbers.read(weights, ())
    with np.errstate(over="ignore"):  # what is too large is infinite, and told
        number = found.to_numpy(zero_copy_only=False).astype(np.float32)
    known = pc.is_valid(values).to_numpy(zero_copy_only=False)
    fits = np.isfinite(number) & (of_map | (number >= 0))
    for i in np.flatnonzero(known & ~fits):
        given = weights[int(i)].as_py()
        reason = f"{given!r}: a weight must be a number >= 0"
        if of_map:
            key = values[int(i)].as_py()
            reason = f"{key!r} has the number {given!r}; write entries as in 'a:0.5'"
        wrong.setdefault(int(i), reason)
    written = pa.array(np.where(fits, number, 0)).cast(pa.string())
    return pc.fill_null(pc.binary_join_element_wise(values, written, ":"), ""), wrong
