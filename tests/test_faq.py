"""docs/faq.md: its code runs, and what its pages name is there."""

import re

import numpy as np
import pytest
from paths import ROOT
from quick_model import eager_steps

import tfmtl

PAGES = ("faq", "migration", "own_architecture", "troubleshooting")
TEXT = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in PAGES}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the code of the page defines, block after block."""
    names = {}
    with pytest.MonkeyPatch.context() as patch, eager_steps():
        patch.chdir(tmp_path_factory.mktemp("faq"))
        for block in re.findall(r"```python\n(.*?)```", TEXT["faq"], re.DOTALL):
            exec(block, names)
    return names


def test_the_loaded_model_predicts(names):
    scores = names["model"].predict(names["table"], verbose=0)
    assert {name: column.shape for name, column in scores.items()} == {
        "click": (1000, 1),
        "buy": (1000, 1),
    }


def test_users_that_are_not_known_get_a_score(names):
    strangers = {"user": np.array(["u1", "new", ""]), "price": np.ones(3)}
    scores = names["model"].predict(strangers, verbose=0)["click"].ravel()
    assert np.isfinite(scores).all() and len(set(scores)) == 3


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_library_exist(page):
    for name in set(re.findall(r"tfmtl((?:\.\w+)+)", TEXT[page])):
        if name.endswith((".py", ".integrations")):
            continue
        found = tfmtl
        for part in name.split(".")[1:]:
            found = getattr(found, part)
