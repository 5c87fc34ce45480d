"""Lists that were written as texts in brackets, as pandas and JSON do in a CSV."""

import ast
import json
import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BRACKETS = r"(?s)^\s*\[.*\]\s*$"
# An array of NumPy's, of two or more numbers or texts.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|nan|inf)"
_QUOTED = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_ITEM = re.compile(f"{_NUMBER}|{_QUOTED}")
_ARRAY = re.compile(
    "|".join(rf"\s*\[\s*{i}(?:\s+{i})+\s*\]\s*" for i in (_NUMBER, _QUOTED))
)


def rows(strings: pa.Array) -> np.ndarray:
    """Which texts are in brackets: int (n,)."""
    mask = pc.match_substring_regex(strings, _BRACKETS).fill_null(False)
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def parse(text: str) -> list[str]:
    r"""Reads a list as Python or JSON writes it; null, None and NaN are empty texts.

    Raises:
        ValueError: It is no list of numbers, texts and booleans.

    >>> parse("['i1', 2, 0.5, None]")
    ['i1', '2', '0.5', '']
    >>> parse("[np.float64(0.5), np.str_('i1')]")
    ['0.5', 'i1']
    >>> parse("[0.5 1.\n nan]")  # as NumPy writes an array
    ['0.5', '1.0', '']
    """
    if _ARRAY.fullmatch(text):
        return [_of_array(item) for item in _ITEM.findall(text)]
    try:
        return [_text(item) for item in json.loads(text)]
    except (ValueError, RecursionError):
        pass
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return list(_items(tree, text.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("not a list as Python or JSON writes it") from None


def _items(tree: ast.expr, text: str) -> Iterator[str]:
    for node in getattr(tree, "elts", ()):
        if isinstance(node, ast.Call) and len(node.args) == 1:
            if re.fullmatch(r"np\.\w+", ast.get_source_segment(text, node.func)):
                node = node.args[0]  # np.float64(0.5), as NumPy 2 writes its numbers
        source = ast.get_source_segment(text, node)
        if source == "nan":
            yield ""
            continue
        item = ast.literal_eval(node)
        # "'a' 'b'" is one text to Python, and two to NumPy, which wrote it.
        if isinstance(item, str) and source != repr(item):
            raise ValueError(source)
        yield _text(item)


def _of_array(item: str) -> str:
    if item[0] in "'\"":
        return item[1:-1]
    if item == "nan":
        return ""
    return str(float(item)) if "." in item else item  # "1." or "1.e-10"


def _text(item: str | float | None) -> str:
    if item is None or item != item:
        return ""
    if not isinstance(item, (str, int, float)):
        raise ValueError(f"no single value: {item!r}")
    return str(item)
