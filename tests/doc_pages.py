"""The pages of the docs as tests read them: blocks of code, links and headings.

Blocks that say "python" run; "py" is the code of another library.
"""

import re
import typing
from pathlib import Path

from paths import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for pattern in ("README.md", "CHANGELOG.md", "docs/**/*.md", "serving/deploy/*.md")
    for path in sorted(ROOT.glob(pattern))
}
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*).*\n"
    r"(?P<text>(?:.*\n)*?)(?P=indent)```$",
    re.MULTILINE,
)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Block(typing.NamedTuple):
    """A block of code: where it stands and what is in it."""

    page: str
    line: int
    text: str


def blocks(language: str) -> list[Block]:
    """Returns the blocks of a language."""
    found = []
    for page, path in PAGES.items():
        text = path.read_text("utf-8")
        for fence in _FENCE.finditer(text):
            if fence["language"] == language:
                line = text.count("\n", 0, fence.start("text")) + 1
                found.append(Block(page, line, fence["text"]))
    return found


def prose(path: Path) -> str:
    """Returns a page without its blocks and inline code."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """Returns the anchors of the headings, as code hosts and the site make them."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    found: set[str] = set()
    for heading in _HEADING.findall(text):
        shown = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", shown).replace(" ", "-"))
    return found
