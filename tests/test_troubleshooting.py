"""docs/troubleshooting.md quotes messages that the product has."""

import ast
import re

import pytest
from paths import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)


def _text(node) -> str:
    """The text of a string as written, {} for what is filled in; "" of other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) or "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return ""


@pytest.fixture(scope="module")
def messages():
    """Every text of the product, one after another."""
    found = []
    for package in ("tfmtl", "pipeline", "serving"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                found.append(_text(node).replace("\n", " "))
    return "\n".join(filter(None, found))


def test_the_page_has_messages():
    assert len(QUOTED) == len(set(QUOTED)) > 40


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_message_is_the_products(quoted, messages):
    parts = [part.strip() for part in quoted.split("...") if part.strip()]
    pattern = ".*".join(map(re.escape, parts))  # within one text, in this order
    assert re.search(pattern, messages), f"no text has: {quoted}"


def test_a_message_that_is_not_there_is_found_out(messages):
    assert not re.search(re.escape("the moon must be full"), messages)
