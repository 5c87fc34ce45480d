"""The table to choose an architecture by has all of them, and their true sizes."""

import re

import numpy as np
from paths import ROOT

import tfmtl

PAGE = (ROOT / "docs" / "models" / "index.md").read_text("utf-8")
ROWS = re.findall(r"^\| \[`(\w+)`\]\(\1\.md\) \|.*\| ([\d.]+) \| [\d.]+ \|", PAGE, re.M)
NAMES = ["user_id", "video_id", "author_id", "tab", *(f"c{i}" for i in range(8))]
OPTIONS = {
    "epnet": {"domain": "tab"},
    "ppnet": {"prior_features": NAMES[:3]},
    "pepnet": {"domain": "tab", "prior_features": NAMES[:3]},
    "shared_top": {"domain": "tab"},
    "specific_top": {"domain": "tab"},
    **dict.fromkeys(
        ("star", "sar_net", "hinet", "m3oe", "m2m", "adasparse", "apg"),
        {"domain": "tab"},
    ),
}


def _weights(name):
    """Trainable numbers above the tables, of four tasks and three domains."""
    features = [tfmtl.Categorical(n, num_buckets=3, embedding_dim=16) for n in NAMES]
    tasks = [tfmtl.Task(task) for task in ("click", "like", "follow", "forward")]
    model = tfmtl.models.get(name)(features, tasks, **OPTIONS.get(name, {}))
    model({name: np.ones(1, int) for name in NAMES})
    above = [w for w in model.trainable_weights if "embedding/table" not in w.path]
    return sum(np.prod(weight.shape) for weight in above)


def test_weights_are_those_of_the_table(monkeypatch):
    monkeypatch.setattr(tfmtl.MultiTaskModel, "symbolic_call", lambda *_: None)
    assert sorted(name for name, _ in ROWS) == sorted(tfmtl.models.names())
    one = _weights("shared_bottom")
    found = {name: round(float(_weights(name) / one), 1) for name, _ in ROWS}
    assert found == {name: float(number) for name, number in ROWS}
