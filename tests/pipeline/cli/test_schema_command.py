"""`python -m pipeline schema`: its page has every key, editors take what we take."""

import json
import re

import jsonschema
import pytest
import yaml
from paths import ROOT

import pipeline.__main__
from pipeline import config
from pipeline.config.load import override
from pipeline.config.reading import Reading
from pipeline.config.sections import Named
from pipeline.config.values import Section

FEED = ROOT / "configs" / "feed.yaml"
PAGE = ROOT / "docs" / "config.md"
SCHEMA = ROOT / "configs" / "schema.json"


def _models(base=Section):
    for model in base.__subclasses__():
        yield from _models(model)
        if not model.__name__.startswith("_"):
            yield model


MODELS = [pytest.param(model, id=model.__name__) for model in _models()]


def _faults(raw):
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text("utf-8")))
    return [error.message for error in validator.iter_errors(raw)]


@pytest.mark.parametrize(
    ("flags", "committed"), [((), SCHEMA), (("--markdown",), PAGE)], ids=["json", "md"]
)
def test_what_is_committed_is_what_it_prints(flags, committed, capsys):
    assert pipeline.__main__.main(["schema", *flags]) == 0
    assert capsys.readouterr().out == committed.read_text("utf-8"), (
        f"write it anew: python -m pipeline schema {' '.join(flags)} > "
        f"{committed.relative_to(ROOT)}"
    )


@pytest.mark.parametrize("model", [*MODELS, pytest.param(Named, id="Named")])
def test_every_key_says_what_it_does(model):
    undescribed = [
        key
        for key, field in model.model_fields.items()
        if not field.description
        and field.annotation not in [m.values[0] for m in MODELS]
    ]
    assert not undescribed, "write a text below the key"


@pytest.mark.parametrize("model", MODELS)
def test_every_key_has_a_line_on_the_page(model):
    keys = set(model.model_fields)
    if model is not Reading:
        keys -= set(Reading.model_fields)
    tables = PAGE.read_text("utf-8").split("\n## ")
    assert keys in [set(re.findall(r"^\| `(\w+)` \|", t, re.M)) for t in tables]


@pytest.mark.parametrize(
    "path", sorted(FEED.parent.glob("*.yaml")), ids=lambda path: path.name
)
def test_configs_of_ours_are_valid_in_editors(path):
    text = path.read_text("utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA.name}\n")
    assert _faults(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    "change",
    [
        "train.optimizer=adam",
        "train.optimizer={name: sparse_adagrad, l2: 0.1}",
        "train.workers=[host:1]",
        "push={keep: 1}",
        "data.split={column: [user_id, tab]}",
        "data.quote=null",
        "data.tables=[{name: a, logs: a.csv, key: user_id}]",
        "data.tables=[{name: a, logs: [a.csv], key: [user_id, tab]}]",
        "data.tables=[{name: a, logs: a.csv, key: {user_id: user}}]",
        "data.history=[{name: h, key: user_id, column: tab, min_delay: 1.5h}]",
        "data.history=[{name: h, key: user_id, column: tab, min_delay: 90}]",
        "evaluate.max_drop={click: 0.1}",
        "evaluate.importance=null",
        "sweep={architectures: all, space: {train.seed: {low: 1, high: 9}}}",
        "sweep={architectures: [ple, {name: mmoe, experts: 3}]}",
    ],
)
def test_editors_take_what_may_be_written(change):
    config.load(FEED, ["data.time=timestamp", change])
    raw = yaml.safe_load(FEED.read_text("utf-8"))
    override(raw, change)
    assert _faults(raw) == []


@pytest.mark.parametrize(
    "change",
    [
        "trane.epochs=3",
        "train.epochs=0",
        "data.split.by=day",
        "data.delimiter=';;'",
        "data.history=[{name: h, key: user_id, column: tab, min_delay: 3 weeks}]",
        "data.history=[{name: h, key: user_id, column: tab, min_delay: -1}]",
        "features.tab.kind=text",
        "features.tab={name: tab, kind: numeric, hash_buckets: 9}",
        "features=null",
        "push.keep=all",
        "tasks.click.name=a b",
    ],
)
def test_editors_mark_what_is_refused(change):
    with pytest.raises(config.ConfigError):
        config.load(FEED, ["data.time=timestamp", change])
    raw = yaml.safe_load(FEED.read_text("utf-8"))
    override(raw, change)
    assert _faults(raw)
