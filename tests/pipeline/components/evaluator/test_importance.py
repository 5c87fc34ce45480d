"""Permutation importance: against a loop over rows, however the rows are stored."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from engines import ENGINES, engine

from pipeline.artifacts import examples
from pipeline.components.evaluator import importance as module
from pipeline.components.evaluator.component import evaluator
from pipeline.components.evaluator.importance import importance
from pipeline.config import Config

ROWS = 900
NOTHING = {"drop": None, "low": None, "high": None}
SPECS = {
    "tab": tf.TensorSpec([None], tf.string, "tab"),
    "signal": tf.TensorSpec([None], tf.float32, "signal"),
    "noise": tf.TensorSpec([None], tf.float32, "noise"),
    "ignored": tf.TensorSpec([None], tf.string, "ignored"),
    "seen": tf.TensorSpec([None, 3], tf.string, "seen"),
}


def make_config(rows=20_000, seed=0, **evaluate):
    kinds = {"tab": "categorical", "signal": "numeric", "noise": "numeric"}
    kinds |= {"ignored": "categorical"}
    features = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    features.append({"name": "seen", "kind": "sequence", "of": "tab", "max_length": 3})
    evaluate = {"default_rules": [], "importance": {"rows": rows, "seed": seed}} | (
        evaluate
    )
    return Config.model_validate(
        {
            "name": "small",
            "workspace": "unused",
            "data": {"logs": ["unused"], "split": {"by": "hash", "column": "tab"}},
            "features": features,
            "domain": "tab",
            "tasks": [
                {"name": "click"},
                {"name": "buy", "space": "click"},
                {"name": "minutes", "kind": "regression", "row_weight": "worth"},
            ],
            "evaluate": evaluate,
            "push": {"destination": "unused"},
        }
    )


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(3)
    signal, noise = random.normal(size=(2, ROWS))
    seen = [["a", "b", "c"][: i % 4] or None for i in range(ROWS)]
    length = np.arange(ROWS) % 4
    click = random.random(ROWS) < 1 / (1 + np.exp(-2 * signal))
    return pa.table(
        {
            "tab": [["home", "search", None][i % 3] for i in range(ROWS - 9)]
            + ["rare"] * 9,
            "signal": signal,
            "noise": [None if i % 50 == 0 else x for i, x in enumerate(noise)],
            "ignored": [f"i{i % 7}" for i in range(ROWS)],
            "seen": seen,
            "click": click.astype(float),
            "buy": (random.random(ROWS) < 0.1 + 0.2 * length).astype(float),
            "minutes": np.exp(signal + random.normal(size=ROWS)),
            "worth": [float(1 + i % 2) for i in range(ROWS)],
            "user": [f"u{i % 60}" for i in range(ROWS)],
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.bias = tf.Variable(0.1)

        def __call__(self, signal, noise, seen, **others):
            noise = tf.where(tf.math.is_nan(noise), 0.0, noise)
            length = tf.reduce_sum(tf.cast(seen != "", tf.float32), 1)
            logit = signal + 0.1 * noise + self.bias
            return {
                "click": tf.sigmoid(logit)[:, None],
                "buy": tf.sigmoid(length + 0.1 * noise)[:, None],
                "minutes": logit[:, None],
            }

    folder = tmp_path_factory.mktemp("importance") / "model" / "Format-Serving"
    module = Model()
    function = tf.function(module.__call__).get_concrete_function(**SPECS)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return folder


def write(table, folder, shard_rows=ROWS, group_rows=ROWS):
    folder.mkdir(parents=True)
    starts = range(0, ROWS, shard_rows)
    for i, start in enumerate(starts):
        shard = folder / f"data-{i:05d}-of-{len(starts):05d}.parquet"
        pq.write_table(table[start : start + shard_rows], shard, group_rows)
    return folder


@pytest.fixture(scope="module")
def found(table, model, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    split = write(table, work / "Split-test")
    result = importance(make_config(), split, model, work)
    assert [path.name for path in work.iterdir()] == ["Split-test"]
    return result


def test_the_feature_that_carries_the_label_has_most(found):
    assert found["rows"] == ROWS
    assert found["features"] == ["ignored", "noise", "seen", "signal", "tab"]
    for task, best in (("click", "signal"), ("buy", "seen"), ("minutes", "signal")):
        drops = found["tasks"][task]
        assert max(drops, key=lambda name: drops[name]["drop"]) == best
        assert drops[best]["low"] > 0.1 > abs(drops["noise"]["drop"])
        assert drops["noise"]["low"] <= drops["noise"]["drop"] <= drops["noise"]["high"]


def test_a_feature_that_the_model_ignores_has_exactly_0(found):
    none = {"drop": 0.0, "low": 0.0, "high": 0.0}
    assert set(found["domains"]) == {"(missing)", "home", "rare", "search"}
    for drops in (found["tasks"], *found["domains"].values()):
        for task, of_features in drops.items():
            few = of_features["signal"] == NOTHING
            expected = NOTHING if few else none
            assert of_features["ignored"] == of_features["tab"] == expected, task


def test_too_few_rows_have_no_importance(found):
    assert found["domains"]["rare"]["click"] == dict.fromkeys(
        found["features"], NOTHING
    )


def pair_auc(label, score):
    won = (score[label == 1][:, None] > score[label == 0]).mean()
    ties = (score[label == 1][:, None] == score[label == 0]).mean()
    return won + ties / 2


def test_a_sample_has_no_row_twice(table, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "_RANGE_ROWS", 70)
    split = write(table, tmp_path / "Split-test", shard_rows=110)
    config, path = make_config(rows=600), tmp_path / "sample"
    assert module._write_sample(config, split, ["signal"], path) == 600
    drawn = pq.read_table(path)["signal"].to_pylist()
    places = np.flatnonzero(np.isin(table["signal"], drawn))
    assert drawn == table["signal"].take(places).to_pylist()


def test_rows_count_by_their_weights(model, table, found, tmp_path):
    config = make_config().model_dump()
    config["tasks"][2]["row_weight"] = None
    split = write(table, tmp_path / "Split-test")
    alike = importance(Config.model_validate(config), split, model, tmp_path)
    for task, changed in (("click", False), ("minutes", True)):
        drops = [f["tasks"][task]["signal"]["drop"] for f in (alike, found)]
        assert (drops[0] != drops[1]) == changed


def test_the_drop_is_that_of_a_loop_over_rows(table, model, found):
    call = tf.saved_model.load(str(model)).signatures["serving_default"]
    columns = table.to_pydict()
    inputs = {name: columns[name] for name in SPECS}

    def score(columns):
        lists = [[*(items or []), "", "", ""][:3] for items in columns["seen"]]
        tensors = {
            "tab": tf.constant([tab or "" for tab in columns["tab"]]),
            "signal": tf.constant(columns["signal"], tf.float32),
            "noise": tf.constant(
                [np.nan if x is None else x for x in columns["noise"]], tf.float32
            ),
            "ignored": tf.constant(columns["ignored"]),
            "seen": tf.constant(lists),
        }
        return call(**tensors)["buy"].numpy()[:, 0]

    clicked = table["click"].to_numpy() == 1
    at_home = np.array([tab == "home" for tab in columns["tab"]])
    label = table["buy"].to_numpy()
    before = score(inputs)
    for feature in ("seen", "noise"):
        order = np.random.default_rng([0, *feature.encode()]).permutation(ROWS)
        values = [inputs[feature][i] for i in order]
        after = score(inputs | {feature: values})
        for rows, drops in (
            (clicked, found["tasks"]["buy"]),
            (clicked & at_home, found["domains"]["home"]["buy"]),
        ):
            drop = pair_auc(label[rows], before[rows])
            drop -= pair_auc(label[rows], after[rows])
            assert drops[feature]["drop"] == pytest.approx(drop, abs=1e-9)


@pytest.mark.parametrize("rows", [ROWS, 400])
def test_the_numbers_do_not_depend_on_shards_or_workers(
    table, model, found, tmp_path, monkeypatch, rows
):
    monkeypatch.setattr(examples, "BATCH_ROWS", 300)  # what both go by
    config = make_config(rows, group="user")
    one = importance(config, write(table, tmp_path / "one"), model, tmp_path)
    monkeypatch.setattr(examples, "_RANGE_ROWS", 70)
    split = write(table, tmp_path / "many", shard_rows=110, group_rows=40)
    assert importance(config, split, model, tmp_path) == one
    assert one["rows"] == rows
    assert one["tasks"]["click"]["signal"]["low"] > 0
    alone = importance(make_config(rows), split, model, tmp_path)
    of_rows, of_users = (f["tasks"]["click"]["signal"] for f in (alone, one))
    assert of_rows["drop"] == of_users["drop"] and of_rows["low"] != of_users["low"]
    if rows == ROWS:  # `found` is of one batch
        drop = found["tasks"]["click"]["signal"]["drop"]
        assert of_rows["drop"] == pytest.approx(drop, abs=1e-3)
    other = importance(make_config(rows, seed=1, group="user"), split, model, tmp_path)
    assert other["tasks"]["click"]["noise"] != one["tasks"]["click"]["noise"]


@pytest.mark.parametrize("wanted", [True, False])
def test_the_evaluator_writes_it(table, model, tmp_path, wanted):
    write(table, tmp_path / "examples" / "Split-test")
    inputs = {"examples": tmp_path / "examples", "model": model.parent}
    outputs = {name: tmp_path / name for name in ("evaluation", "blessing")}
    for folder in outputs.values():
        folder.mkdir()
    evaluator(
        make_config() if wanted else make_config(importance=None), inputs, outputs
    )
    file = outputs["evaluation"] / "importance.json"
    assert file.exists() == wanted
    if wanted:
        assert json.loads(file.read_text())["tasks"]["click"]["signal"]["drop"] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_finds_what_the_local_runner_does(table, model, tmp_path, name):
    split = write(table, tmp_path / "Split-test", shard_rows=110)
    local = importance(make_config(), split, model, tmp_path)
    with engine(name, tmp_path) as beam:
        config = make_config().model_copy(update={"beam": beam})
        assert importance(config, split, model, tmp_path) == local
