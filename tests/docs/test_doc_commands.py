"""Commands in the docs are commands, with flags that they have."""

import re
import shlex
from pathlib import Path

import pytest
from doc_pages import PAGES, blocks
from paths import ROOT

import pipeline.__main__
import serving.__main__
from serving.cli.serve import own_spelling

SHELL = [pytest.param(b, id=f"{b.page}:{b.line}") for b in blocks("shell")]
_OURS = re.compile(r"-m (pipeline|serving) |^make |^pip install|\.py\b")
_MAKEFILE = (ROOT / "Makefile").read_text()
_PROJECT = (ROOT / "pyproject.toml").read_text()


def _commands(block):
    """The words of each command of ours, with the page's variables filled in."""
    page = PAGES[block.page].read_text("utf-8").splitlines()
    before = "\n".join(page[: block.line + block.text.count("\n")])
    variables = dict(re.findall(r'^(\w+)="(.*)"$', before, re.MULTILINE))
    for line in block.text.replace("\\\n", " ").splitlines():
        if not _OURS.search(line):
            continue
        line = re.sub(r"\$(\w+)", lambda name: variables.get(name[1], ""), line)
        words = shlex.split(line, comments=True)
        while words:
            end = next((i for i, w in enumerate(words) if w in "|&&;>"), len(words))
            yield words[:end]
            words = words[end + 1 :]


def _parse(package, words):
    if package == "serving":
        serving.__main__._parser().parse_args([own_spelling(word) for word in words])
        return
    args, unknown = pipeline.__main__._parser().parse_known_args(words)
    assert not unknown or hasattr(args, "runner"), unknown  # the others are Beam's
    args.beam_flags = unknown
    pipeline.__main__._beam(args)


@pytest.mark.parametrize("block", SHELL)
def test_a_command_is_one(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text("seeds: [0]")  # which the parser reads
    for words in _commands(block):
        module = words.index("-m") + 1 if "-m" in words else len(words)
        if words[module : module + 1] in (["pipeline"], ["serving"]):
            _parse(words[module], words[module + 1 :])
        elif words[:1] == ["make"]:
            (target,) = (word for word in words[1:] if "=" not in word)
            assert f"\n{target}:" in _MAKEFILE
        elif words[:2] == ["pip", "install"]:
            (extra,) = re.findall(r"tfmtl\[(\w+)\]", " ".join(words))
            assert f"\n{extra} = [" in _PROJECT
        for word in words:
            if word.endswith(".py"):
                assert (ROOT / word).is_file()


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("pipeline", ["run", "a.yaml", "--only-one", "Trainer"]),
        ("pipeline", ["rum", "a.yaml"]),
        ("serving", ["publish", "exported"]),
    ],
)
def test_one_that_is_none_is_found_out(package, words, capsys):
    with pytest.raises((SystemExit, AssertionError, pipeline.errors.PipelineError)):
        _parse(package, words)
