"""Python in the docs runs: the blocks of a page one after another, as they are read."""

import doctest

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from doc_inputs import features, rows, tasks
from doc_pages import PAGES, blocks
from paths import ROOT
from quick_model import eager_steps

import tfmtl

# These need a server, a process of their own, or a training that takes longer.
ELSEWHERE = {
    "README.md": "test_readme.py",
    "docs/export.md": "test_readme.py",
    "docs/faq.md": "test_faq.py",
    "docs/integrations/tfrs.md": "tfmtl/integrations/tfrs_cases.py",
    "docs/migration.md": "test_migration.py",
    "docs/own_architecture.md": "test_own_architecture.py",
    "docs/serving.md": "test_readme.py",
}
PYTHON = [block for block in blocks("python") if block.page not in ELSEWHERE]
RUN_HERE = sorted({block.page for block in PYTHON})


def _names():
    """What the pages take as given."""
    columns = rows()
    x = {feature.name: columns[feature.name] for feature in features()}
    y = {task.name: columns[task.name] for task in tasks()}
    labels = np.stack(list(y.values()))  # (tasks, rows)
    given = {"tfmtl": tfmtl, "keras": keras, "np": np, "tf": tf}
    given |= {"features": features(), "tasks": tasks(), "x": x, "y": y}
    given |= {"labels": labels, "masks": np.ones_like(labels)}
    for seed, split in enumerate(("train", "valid", "test")):
        names = ("user_id", "item_id", "click", "purchase")
        table = pd.DataFrame({name: rows(seed)[name] for name in names})
        table["price"] = np.arange(len(table)) / 9
        table["paid"] = table["purchase"] * table["price"]
        given[split] = table
    return given | {"frame": given["train"]}


def _run(page, names):
    for block in PYTHON:
        if block.page != page:
            continue
        if block.text.startswith(">>>"):
            _run_doctest(block)
            continue
        code = "\n" * (block.line - 1) + block.text  # so that errors tell the line
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("page", RUN_HERE)
def test_the_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # No symbolic call of what is called with numbers.
    if page.startswith("docs/models/"):
        monkeypatch.setattr(tfmtl.MultiTaskModel, "symbolic_call", lambda *_: None)
    names = _names()
    with eager_steps():
        _run(page, names)
    if page.startswith("docs/models/"):
        assert set(names["model"](names["x"])) == {task.name for task in names["tasks"]}


@pytest.mark.parametrize("page", sorted(PAGES.keys() & ELSEWHERE))
def test_the_others_run_elsewhere(page):
    assert page.removeprefix("docs/") in (ROOT / "tests" / ELSEWHERE[page]).read_text()


def _run_doctest(block):
    found = doctest.DocTestParser().get_doctest(
        block.text, {}, block.page, block.page, block.line - 1
    )
    said = []
    doctest.DocTestRunner(verbose=False).run(found, out=said.append)
    assert not said, "".join(said)
