"""What docs/data.md says of texts, one at a time and in plain Python."""

import re

_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"]
_MISSING += ["None", "\\N"]


def category(text):
    """The category that a text is; None where it stands for no value."""
    if text is None or text in _MISSING:
        return None
    if text in ("True", "TRUE", "False", "FALSE"):
        return text.lower()
    if whole := re.fullmatch(r"(-?(?:0|[1-9][0-9]*))\.0+", text):
        return "0" if whole[1] == "-0" else whole[1]
    if re.fullmatch(r"-?[0-9](\.[0-9]+)?e(\+[0-9]{2,3}|-04)", text):
        number = float(text)
        whole = number.is_integer() and abs(number) < 2**53
        return str(int(number)) if whole else repr(number)
    return text


def item(text):
    """The same in a list, where what is missing keeps its place."""
    return category(text) or ""
