"""docs/data.md has every option, and its expressions are some."""

import re

from paths import ROOT

from pipeline.config import expressions
from pipeline.config.data import Data
from pipeline.config.joins import Action, History, Value
from pipeline.config.reading import Reading

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_option_is_on_the_page():
    for section in (Reading, Action, Value, History, Data):
        for name in section.model_fields:
            if name not in ("source", "options"):  # of the bundled datasets
                assert re.search(rf"\b{name}\b", PAGE), name


def test_expressions_on_the_page_are_some():
    table = PAGE[PAGE.index("| written | meaning |") : PAGE.index("The text is Python")]
    cells = [
        line.split("|")[1] for line in table.splitlines() if line.startswith("| `")
    ]
    found = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    parsed = [text for text in found if re.search(r"[a-z]\(|^[a-z]", text)]
    parsed = [text for text in parsed if text not in ("and or not",)]
    parsed = [part for text in parsed for part in re.split(r"(?<=\)) (?=[a-z])", text)]
    assert len(parsed) >= 10
    for text in parsed:
        expressions.parse(text)
