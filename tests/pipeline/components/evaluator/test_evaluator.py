"""Evaluator: real SavedModels, measured by the Beam job, against a loop over rows."""

import itertools
import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from conftest import make_config
from engines import ENGINES, engine

from pipeline.artifacts import blessing, saved_model
from pipeline.artifacts import examples as artifact
from pipeline.components.evaluator import job, others
from pipeline.components.evaluator.component import check, evaluator
from pipeline.config import Config
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError
from pipeline.report import evaluation
from pipeline.workspace.metadata import Metadata
from tfmtl.metrics import exact

ROWS = 500
TABS = ["home", "search", "<b>odd</b>", None]


def config_of(destination, **evaluate):
    return make_config(
        data={"split": {"by": "hash", "column": "tab"}},
        features=[
            "tab",
            {"name": "age", "kind": "numeric"},
            {"name": "seen", "kind": "sequence", "of": "tab", "max_length": 3},
        ],
        domain="tab",
        tasks=[
            "click",
            {"name": "buy", "label": "bought", "space": "click"},
            {"name": "minutes", "kind": "regression", "space": "played"},
        ],
        evaluate={
            "slices": ["tab", "hour"],
            "best_reachable": {"click": "p_click"},
            "default_rules": [],
            "importance": None,
            **evaluate,
        },
        push={"destination": str(destination)},
    )


def make_examples(folder):
    """Two shards of 250 rows, in row groups of 100, with gaps everywhere."""
    random = np.random.default_rng(5)
    age = random.normal(size=ROWS)
    p = 1 / (1 + np.exp(-age))
    click = (random.random(ROWS) < p).astype(float)
    tab = [TABS[i] for i in random.choice(4, ROWS, p=[0.5, 0.3, 0.1, 0.1])]
    # One tab in which nobody buys: a single class.
    bought = [float(t != "search" and random.random() < 0.4) for t in tab]
    table = pa.table(
        {
            "tab": tab,
            "age": [None if i % 17 == 0 else a for i, a in enumerate(age)],
            "seen": [None if i % 3 else ["a", "b"] for i in range(ROWS)],
            "hour": pa.array(random.integers(0, 3, ROWS)),
            "click": [None if i % 13 == 0 else c for i, c in enumerate(click)],
            "bought": bought,
            "minutes": np.exp(age + random.normal(size=ROWS)),
            "played": [None if i % 11 == 0 else float(i % 4 > 0) for i in range(ROWS)],
            "p_click": p,
            "user": [None if i % 29 == 0 else f"u{i % 23}" for i in range(ROWS)],
            "worth": [None if i % 19 == 0 else i % 3 / 2 for i in range(ROWS)],
        },
        schema=pa.schema(
            {
                "tab": pa.string(),
                "age": pa.float64(),
                "seen": pa.list_(pa.string()),
                "hour": pa.int64(),
                "user": pa.string(),
            }
            | dict.fromkeys(
                ["click", "bought", "minutes", "played", "p_click", "worth"],
                pa.float64(),
            )
        ),
    )
    split = folder / "Split-test"
    split.mkdir(parents=True)
    for i in range(2):
        shard = split / f"data-{i:05d}-of-00002.parquet"
        pq.write_table(table[i * 250 : (i + 1) * 250], shard, row_group_size=100)
    return table.to_pylist()


class Model(tf.Module):
    """Scores by age: weight 1 ranks well, weight -1 the wrong way round."""

    def __init__(self, weight, tasks):
        super().__init__()
        self.weight = tf.Variable(weight)
        self.tasks = tasks

    def predict(self, **raw):
        age = next(v for v in raw.values() if v.dtype == tf.float32)
        age = tf.where(tf.math.is_nan(age), 0.0, age)
        if "seen" in raw:  # a string that is no padding counts a little
            age += 0.1 * tf.reduce_sum(tf.cast(raw["seen"] != "", tf.float32), 1)
        logit = tf.expand_dims(self.weight * age, 1)  # (batch, 1)
        scores = {"click": tf.sigmoid(logit), "buy": tf.sigmoid(-logit)}
        scores["minutes"] = logit
        return {name: scores[name] for name in self.tasks}


def save_model(folder, weight=1.0, tasks=("click", "buy", "minutes"), number="age"):
    specs = {
        "tab": tf.TensorSpec([None], tf.string, "tab"),
        number: tf.TensorSpec([None], tf.float32, number),
        "seen": tf.TensorSpec([None, 3], tf.string, "seen"),
    }
    module = Model(weight, tasks)
    function = tf.function(module.predict).get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    return folder, make_examples(folder)


@pytest.fixture
def run(examples, tmp_path):
    """Runs the Evaluator on a model; returns summary, metrics.json, reasons, report."""

    def run(config, weight=1.0, **model):
        save_model(tmp_path / "model" / "Format-Serving", weight, **model)
        outputs = {name: tmp_path / name for name in ("evaluation", "blessing")}
        for path in outputs.values():
            path.mkdir()
        inputs = {"examples": examples[0], "model": tmp_path / "model"}
        summary = evaluator(config, inputs, outputs)
        written = (outputs["evaluation"] / "metrics.json").read_text()
        assert "NaN" not in written
        files = sorted(path.name for path in outputs["evaluation"].iterdir())
        assert files == ["metrics.json"]
        page = evaluation.render(json.loads(written))
        return summary, json.loads(written), blessing.read(outputs["blessing"]), page

    return run


def expected(rows, weight=1.0):
    """{(task, slice, value): (labels, scores, rows)} by one loop over rows."""
    groups = {}
    for row in rows:
        logit = weight * ((row["age"] or 0.0) + 0.1 * len(row["seen"] or []))
        p = 1 / (1 + math.exp(-logit))
        counted = []
        if row["click"] is not None:
            counted.append(("click", row["click"], p))
        if row["click"] == 1:
            counted.append(("buy", row["bought"], 1 - p))
        if row["played"] == 1:
            counted.append(("minutes", row["minutes"], logit))
        for task, label, score in counted:
            for key in (
                (task, "all", "all"),
                (task, "tab", row["tab"] or "(missing)"),
                (task, "hour", str(row["hour"])),
            ):
                labels, scores, where = groups.setdefault(key, ([], [], []))
                labels.append(label)
                scores.append(score)
                where.append(row)
    return groups


def pair_auc(labels, scores):
    positive = [s for y, s in zip(labels, scores, strict=True) if y]
    negative = [s for y, s in zip(labels, scores, strict=True) if not y]
    if not positive or not negative:
        return None
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    return wins / len(positive) / len(negative)


def test_every_group_equals_a_loop_over_rows(run, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "_RANGE_ROWS", 130)  # ranges across groups and shards
    summary, measured, reasons, page = run(config_of(tmp_path / "none"))
    groups = expected(examples[1])
    found = {(r["task"], r["slice"], r["value"]): r for r in measured["results"]}
    assert found.keys() == groups.keys()
    assert len(found) == len(measured["results"]) == 3 * (1 + 4 + 3)
    for key, (labels, scores, _) in groups.items():
        record = found[key]
        assert record["rows"] == len(labels)
        assert record["mean_label"] == pytest.approx(np.mean(labels), rel=1e-6)
        assert record["model"]["mean"] == pytest.approx(np.mean(scores), abs=1e-6)
        if key[0] == "minutes":
            error = np.subtract(scores, labels)
            assert record["model"]["mae"] == pytest.approx(abs(error).mean(), rel=1e-5)
        else:
            auc = pair_auc(labels, scores)
            assert record["model"]["auc"] == pytest.approx(auc, abs=1e-6)
    assert found["buy", "tab", "search"]["model"]["auc"] is None
    assert found["click", "all", "all"]["best_reachable"]["auc"] > 0.6
    assert "best_reachable" not in found["buy", "all", "all"]
    assert (summary["rows"], summary["blessed"], reasons) == (ROWS, True, [])
    assert "no model is served yet" in summary["notes"][-1]
    assert summary["metrics"]["click"] == found["click", "all", "all"]["model"]["auc"]
    assert "&lt;b&gt;odd&lt;/b&gt;" in page and "<b>odd</b>" not in page
    assert "http" not in page and "<script" not in page


def test_a_minimum_that_is_not_met(run, tmp_path):
    config = config_of(tmp_path / "none", minimum={"click": 0.99, "minutes": 0.1})
    summary, measured, reasons, page = run(config)
    assert not summary["blessed"] and not measured["blessed"]
    (reason,) = reasons
    assert reason.startswith("click: auc 0.") and "must be at least 0.99" in reason
    assert [gate["passed"] for gate in measured["gates"]] == [False, True]
    assert reason in page and "not blessed" in page
    assert f"not blessed: {reason}" in summary["notes"]


def pair_gauc(labels, scores, users, weights):
    total = impressions = 0.0
    for user in {user for user in users if user is not None}:
        at = [i for i, other in enumerate(users) if other == user]
        won = pairs = 0.0
        for i, j in itertools.product(at, at):
            if labels[i] > labels[j]:
                pair = weights[i] * weights[j]
                pairs += pair
                won += pair * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
        if pairs:
            weight = sum(weights[i] for i in at)
            total += weight * won / pairs
            impressions += weight
    return total / impressions if impressions else None


@pytest.mark.parametrize("weighted", [False, True])
def test_grouped_auc_and_row_weights(run, examples, tmp_path, monkeypatch, weighted):
    monkeypatch.setattr(artifact, "_RANGE_ROWS", 130)
    more = ["ndcg@2", "gxauc"]
    config = config_of(tmp_path / "none", group="user", metrics=more).model_dump()
    for task in config["tasks"] if weighted else ():
        task["row_weight"] = "worth"
    _, measured, _, page = run(Config.model_validate(config))
    found = {(r["task"], r["slice"], r["value"]): r for r in measured["results"]}
    for key, (labels, scores, rows) in expected(examples[1]).items():
        weights = [row["worth"] or 0 if weighted else 1 for row in rows]
        record = found[key]
        assert record["rows"] == np.count_nonzero(weights)
        mean = np.average(labels, weights=weights)
        assert record["mean_label"] == pytest.approx(mean, rel=1e-6)
        if key[0] == "minutes":
            error = np.average(np.abs(np.subtract(scores, labels)), weights=weights)
            assert record["model"]["mae"] == pytest.approx(error, rel=1e-5)
            assert "gauc" not in record["model"] and "gxauc" in record["model"]
            continue
        users = [row["user"] for row in rows]
        gauc = pair_gauc(labels, scores, users, weights)
        assert record["model"]["gauc"] == pytest.approx(gauc, abs=1e-6)
        if key[1] == "all":  # the curves are of the rows' weights too
            labels, scores, weights = map(np.array, (labels, scores, weights))
            for curve, of_rows in (
                ("calibration", exact.calibration_bins),
                ("roc", exact.roc),
            ):
                wanted = of_rows(labels, scores, weight=weights)
                found_curve = record["curves"]["model"][curve]
                np.testing.assert_allclose(found_curve, wanted, rtol=1e-5)
    overall = found["click", "all", "all"]["model"]
    assert overall["gauc"] not in (None, overall["auc"])
    assert f"{overall['gauc']:.4f}" in page and "AUC by user" in page
    assert f"{overall['ndcg@2']:.4f}" in page and "NDCG at 2" in page
    assert ("weighted by worth" in page) == weighted


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_kept_negatives_count_for_those_that_are_not(run, examples, tmp_path, rate):
    config = config_of(tmp_path / "none").model_dump()
    config["tasks"][0]["loss"] = {"name": "bce", "negative_rate": rate}
    _, measured, _, _ = run(Config.model_validate(config))
    found = {(r["task"], r["slice"], r["value"]): r for r in measured["results"]}
    record = found["click", "all", "all"]
    labels, scores, _ = map(np.array, expected(examples[1])["click", "all", "all"])
    weights = np.where(labels > 0, 1, 1 / rate)
    assert record["rows"] == len(labels)
    mean = np.average(labels, weights=weights)
    assert record["mean_label"] == pytest.approx(mean, rel=1e-6)
    ratio = np.average(scores, weights=weights) / mean
    assert record["model"]["calibration"] == pytest.approx(ratio, rel=1e-5)


def make_run(workspace, weight=0.0, architecture="single_task", tasks=2):
    """What a run leaves in its workspace: a model, and its evaluation."""
    store = Metadata(workspace / "metadata.sqlite")
    number = len(store.executions())
    model, evaluation = (workspace / f"{n}-{number}" for n in ("model", "evaluation"))
    save_model(model / "Format-Serving", weight)
    evaluation.mkdir()
    measured = {"architecture": architecture, "tasks": [{}] * tasks}
    (evaluation / "metrics.json").write_text(json.dumps(measured))
    training = store.begin("run", "Trainer", f"key {number}")
    (trained,) = store.complete(training, {}, [], {"model": model})
    execution = store.begin("run", "Evaluator", f"key {number}")
    store.complete(execution, {}, [trained], {"evaluation": evaluation})
    return model / "Format-Serving"


def test_the_gain_over_a_single_task_run(run, tmp_path):
    other = make_run(tmp_path / "alone", weight=-1.0)
    config = config_of(
        tmp_path / "none", group="user", single_task=str(tmp_path / "alone")
    )
    summary, measured, _, page = run(config)
    assert measured["single_task"]["path"] == str(other)
    for record in measured["results"]:
        if record["too_few"]:
            assert "gain" not in record
            continue
        gain = record["gain"]["single_task"]
        metric = "spearman" if record["task"] == "minutes" else "auc"
        found = record["model"][metric] - record["single_task"][metric]
        assert gain[metric]["value"] == pytest.approx(found)
    gain = measured["results"][0]["gain"]["single_task"]
    text = f"gain over single task {gain['auc']['value']:+.4f}"
    assert text in summary["notes"][0]
    assert "Gain over single-task learning" in page
    assert f"{gain['log_loss']['value']:.4f}".strip("-") in page


def test_a_single_task_run_that_the_examples_cannot_feed(run, tmp_path):
    folder = make_run(tmp_path / "alone")
    save_model(folder, number="income")
    config = config_of(tmp_path / "none", single_task=str(tmp_path / "alone"))
    with pytest.raises(PipelineError, match="evaluate.single_task: .*'income'"):
        run(config)


def test_models_of_other_runs_are_found_in_their_workspace(tmp_path):
    config = config_of(tmp_path / "none", single_task=str(tmp_path))
    with pytest.raises(PipelineError, match="must be the workspace of a run"):
        check(config)
    older = make_run(tmp_path, architecture="ple", tasks=1)
    alone = make_run(tmp_path, tasks=2)
    newest = make_run(tmp_path, architecture="ple", tasks=2)
    check(config)
    assert others.models(config) == {"single_task": alone}
    both = config_of(tmp_path / "none", baseline=str(tmp_path))
    assert others.models(both) == {"baseline": newest}
    shutil.rmtree(alone)
    assert others.models(config) == {"single_task": older}
    shutil.rmtree(older)
    with pytest.raises(PipelineError, match="no evaluated model of tasks .* alone"):
        check(config)


def test_a_run_is_no_other_run_of_itself(tmp_path):
    """A model that the run which is running now found in the cache is no baseline."""
    config = config_of(tmp_path / "none", baseline=str(tmp_path))
    make_run(tmp_path)
    other = make_run(tmp_path)
    assert others.models(config) == {"baseline": other}
    store = Metadata(tmp_path / "metadata.sqlite")
    store.begin_run("now", {}, [])
    training, *_ = reversed(store.executions("Trainer"))
    store.use("now", training.id)
    assert others.models(config) == {"baseline": other}
    store.end_run("now")  # and was so: it has the newest model
    assert others.models(config)["baseline"] != other


def test_a_group_that_the_examples_lack(run, tmp_path):
    with pytest.raises(PipelineError, match="evaluate.group: column 'usr'.*'user'"):
        run(config_of(tmp_path / "none", group="usr"))


@pytest.mark.parametrize("max_drop, blessed", [(0.1, False), (1.0, True)])
def test_the_newest_served_version_is_the_baseline(run, tmp_path, max_drop, blessed):
    served = tmp_path / "served"
    save_model(served / "9", weight=-1.0)
    save_model(served / "10", weight=1.0, tasks=("click",))
    (served / ".publishing-11").mkdir()
    config = config_of(served, max_drop=max_drop, default_rules=["no_loss"])
    summary, measured, reasons, _ = run(config, weight=-0.5)
    assert measured["baseline"]["version"] == 10
    assert measured["baseline_has_seen_test"] is None  # they have no cards
    assert "cannot be told" in summary["notes"][3]
    overall = {r["task"]: r for r in measured["results"] if r["slice"] == "all"}
    click = overall["click"]
    assert click["baseline"]["auc"] == pytest.approx(1 - click["model"]["auc"])
    assert "baseline" not in overall["buy"]
    assert summary["blessed"] == blessed == (not reasons)
    assert blessed or "click: auc has lost" in reasons[0]


@pytest.mark.parametrize("number", ["income", "tab2"])
def test_a_served_model_that_the_examples_cannot_feed(run, tmp_path, number):
    save_model(tmp_path / "served" / "1", number=number)
    summary, measured, reasons, page = run(config_of(tmp_path / "served"))
    assert measured["baseline"] is None
    assert f"column '{number}' is missing" in measured["baseline_note"]
    assert summary["blessed"] and "version 1 cannot be measured" in page


def test_predictions_that_are_not_numbers_are_refused(run, tmp_path):
    summary, measured, reasons, _ = run(config_of(tmp_path / "none"), math.nan)
    assert not summary["blessed"]
    assert len(reasons) == 3
    assert "buy" in reasons[1] and "are not probabilities" in reasons[1]
    assert summary["metrics"]["click"] is None


def test_a_model_without_a_task(run, tmp_path):
    with pytest.raises(PipelineError, match=r"lacks \['buy'\] and has"):
        run(config_of(tmp_path / "none"), tasks=("click", "minutes"))


def test_a_model_that_the_examples_cannot_feed(run, tmp_path):
    with pytest.raises(PipelineError, match="column 'income' is missing"):
        run(config_of(tmp_path / "none"), number="income")


def test_an_empty_test_split(tmp_path):
    (tmp_path / "Split-test").mkdir()
    inputs = {"examples": tmp_path, "model": tmp_path}
    with pytest.raises(PipelineError, match="an evaluation needs rows"):
        evaluator(config_of(tmp_path), inputs, {})


def test_served_ignores_what_is_no_version(tmp_path):
    assert saved_model.served(tmp_path / "none") is None
    for name in ("2", "10", "9", ".deleting-11", "12.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "13").write_text("a file")
    assert saved_model.served(tmp_path) == tmp_path / "10"


def _same(found, wanted):
    """Equal but for the last digits of scores, which depend on TensorFlow's batches."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        found, wanted = found.values(), wanted.values()
    if isinstance(wanted, str | None):
        assert found == wanted
    elif isinstance(wanted, int | float):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    else:
        for one, other in zip(found, wanted, strict=True):
            _same(one, other)


@pytest.mark.parametrize("of_range, batch", [(7, 8192), (400, 8192), (500, 33)])
def test_shards_ranges_and_batches_change_no_number(
    examples, tmp_path, monkeypatch, of_range, batch
):
    table = pq.read_table(examples[0] / "Split-test")
    other = tmp_path / "Split-test"
    other.mkdir()
    for i, (start, stop) in enumerate([(0, 11), (11, 300), (300, 500)]):
        shard = other / f"data-{i:05d}-of-00003.parquet"
        pq.write_table(table.slice(start, stop - start), shard, row_group_size=40)
    save_model(tmp_path / "model")
    models = {"model": tmp_path / "model", "baseline": tmp_path / "other"}
    save_model(tmp_path / "other", weight=0.5)
    config = config_of(tmp_path, group="user")
    sources = dict.fromkeys(["click", "buy", "minutes"], [*models])
    one = job.evaluate(config, examples[0] / "Split-test", models, sources, tmp_path)
    monkeypatch.setattr(artifact, "_RANGE_ROWS", of_range)
    monkeypatch.setattr(job.examples, "BATCH_ROWS", batch)
    _same(job.evaluate(config, other, models, sources, tmp_path), one)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_measures_what_the_local_runner_does(
    examples, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(artifact, "_RANGE_ROWS", 100)
    save_model(tmp_path / "model")
    sources = dict.fromkeys(["click", "buy", "minutes"], ["model"])

    def measure(beam):
        config = config_of(tmp_path).model_copy(update={"beam": beam})
        split = examples[0] / "Split-test"
        return job.evaluate(
            config, split, {"model": tmp_path / "model"}, sources, tmp_path
        )

    local = measure(Beam())
    with engine(name, tmp_path) as beam:
        far = measure(beam)
    assert len(local) > 10
    _same(far, local)
