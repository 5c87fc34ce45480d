"""InfraValidator on a real export: transform graph, Keras model, SavedModel, server."""

import json
import math
import shutil

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from conftest import make_config
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import tfmtl
from pipeline.artifacts import blessing, examples, saved_model
from pipeline.components.infra_validator.component import infra_validator
from pipeline.components.statistics_gen import statistics_gen
from pipeline.components.trainer import component
from pipeline.components.trainer.component import build, declare
from pipeline.components.transform.component import transform
from pipeline.config import Infra
from pipeline.errors import PipelineError
from serving.models.warmup import WARMUP_FILE, write_warmup

CONFIG = make_config(
    features=[
        {"name": "user", "kind": "categorical", "embedding_dim": 4},
        {"name": "video", "kind": "categorical", "embedding_dim": 4},
        {"name": "hours.per-week", "kind": "numeric"},
        {"name": "seen", "kind": "sequence", "of": "video", "max_length": 3},
    ],
    tasks=["click", {"name": "minutes", "kind": "regression"}],
    model={"architecture": "shared_bottom"},
)
ROWS = {"train": 300, "valid": 20, "test": 120}


def write_split(folder, split, rows):
    random = np.random.default_rng(rows)
    table = pa.table(
        {
            "user": [None if i % 7 == 0 else f"u{i % 30}" for i in range(rows)],
            "video": [f"{split}-ü{i % 9}" if i % 5 == 0 else "v" for i in range(rows)],
            "hours.per-week": [
                None if i % 6 == 0 else x
                for i, x in enumerate(random.normal(size=rows))
            ],
            "seen": [["v", "other", "v", None, "v"][: i % 6] for i in range(rows)],
            "click": random.integers(0, 2, rows).astype(float),
            "minutes": random.normal(size=rows) ** 2,
        }
    )
    (folder / f"Split-{split}").mkdir()
    path = folder / f"Split-{split}" / "data-00000-of-00001.parquet"
    pq.write_table(table, path, row_group_size=50)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = tmp_path_factory.mktemp("artifacts")
    names = (
        *("examples", "statistics", "transform_graph", "transformed_examples"),
        "model",
    )
    paths = {name: root / name for name in names}
    for path in paths.values():
        path.mkdir()
    for split, rows in ROWS.items():
        write_split(paths["examples"], split, rows)
    statistics_gen(CONFIG, paths, paths)
    transform(CONFIG, paths, paths)
    sizes = json.loads((paths["transform_graph"] / "features.json").read_text())
    keras.utils.set_random_seed(1)
    model = build(CONFIG, *declare(CONFIG, sizes))
    (paths["model"] / "Format-Keras").mkdir()
    model.save(paths["model"] / "Format-Keras" / "model.keras")
    component._export(CONFIG, model, paths["model"] / "Format-Serving", paths)
    return paths


@pytest.fixture
def validate(artifacts, tmp_path):
    """Runs the InfraValidator on a copy of the model that a test may damage."""

    def validate(damage=lambda model: None, config=CONFIG, **inputs):
        shutil.copytree(artifacts["model"], tmp_path / "model")
        damage(tmp_path / "model")
        (tmp_path / "infra_blessing").mkdir()
        inputs = artifacts | {"model": tmp_path / "model"} | inputs
        outputs = {"infra_blessing": tmp_path / "infra_blessing"}
        summary = infra_validator(config, inputs, outputs)
        return summary, blessing.read(outputs["infra_blessing"])

    return validate


def test_a_sound_export_is_blessed(validate, tmp_path):
    summary, reasons = validate()
    assert reasons == []
    assert summary["blessed"] and summary["rows"] == ROWS["test"]
    assert 0 <= summary["difference"] <= 1e-5
    assert summary["latency_ms"] > 0 and 0.01 < summary["megabytes"] < 10
    written = json.loads((tmp_path / "infra_blessing" / "infra.json").read_text())
    scores = {task: tuple(of) for task, of in written.pop("scores").items()}
    assert written == {key: summary[key] for key in written} and len(written) == 4
    assert scores == summary["scores"] and scores.keys() == {"click", "minutes"}
    request = json.loads((tmp_path / "infra_blessing" / "request.json").read_text())
    assert request == {
        "instances": [
            {"hours.per-week": pytest.approx(math.nan, nan_ok=True), "seen": [""] * 3}
            | {"user": "", "video": "test-ü0"}
        ]
    }


def test_every_signature_takes_logged_rows(artifacts):
    path = artifacts["model"] / "Format-Serving"
    batch = next(examples.read_batches(artifacts["examples"] / "Split-test", stop=2))
    raw = examples.raw_inputs(batch, CONFIG.features)
    requests = saved_model.requests(path, raw, {})
    names = [
        "classify",
        "examples",
        "rank",
        "regress",
        "serving_default",
        "transformed",
    ]
    assert sorted(requests) == names
    fewer = saved_model.requests(path, raw, {}, rows_of_others=1)
    rows = {name: {len(of) for of in fewer[name].values()} for name in names}
    assert rows == dict.fromkeys(names, {1}) | {"serving_default": {2}} | {
        "transformed": set()
    }
    logs = tf.data.TFRecordDataset(str(path / WARMUP_FILE)).as_numpy_iterator()
    kinds = {}
    for log in map(PredictionLog.FromString, logs):
        kind = log.WhichOneof("log_type")
        kinds[getattr(log, kind).request.model_spec.signature_name] = kind
    others = dict.fromkeys(["examples", "rank", "serving_default", "transformed"])
    assert kinds == dict.fromkeys(others, "predict_log") | {
        "classify": "classify_log",
        "regress": "regress_log",
    }


def test_limits_of_the_config(validate):
    limits = Infra(rows=40, max_latency_ms=0.001, max_megabytes=0.001)
    config = CONFIG.model_copy(update={"infra": limits})
    summary, reasons = validate(config=config)
    assert not summary["blessed"] and summary["rows"] == 40
    latency, size = sorted(reasons)
    assert latency.startswith("infra.max_latency_ms: at most 0.001 ms allowed")
    assert size.startswith("infra.max_megabytes: at most 0.001 MB allowed")


def test_a_warm_up_request_that_fails(validate):
    def damage(folder):
        wrong = {"user": np.array([b"x"], object)}
        write_warmup(folder / "Format-Serving", {"serving_default": [wrong]})

    summary, reasons = validate(damage)
    assert not summary["blessed"]
    assert "Warm-up request 0 failed" in reasons[0]


def test_a_model_without_warm_up_requests(validate):
    summary, (reason,) = validate(
        lambda folder: (folder / "Format-Serving" / WARMUP_FILE).unlink()
    )
    assert not summary["blessed"]
    assert "needs assets.extra/tf_serving_warmup_requests" in reason


def test_the_scorer_of_the_evaluator_takes_the_same_inputs(artifacts):
    scorer = saved_model.Scorer(artifacts["model"] / "Format-Serving")
    batches = list(examples.read_batches(artifacts["examples"] / "Split-test"))
    scores = np.concatenate([scorer(batch)["minutes"] for batch in batches])
    model = keras.models.load_model(
        artifacts["model"] / "Format-Keras" / "model.keras", compile=False
    )
    records = tfmtl.data.read(
        str(artifacts["transformed_examples"] / "Split-test" / "*"),
        model.features,
        model.tasks,
        batch_size=1000,
    )
    features, _ = next(iter(records))
    offline = model(features, training=False)["minutes"][:, 0]
    np.testing.assert_allclose(scores, offline, rtol=0, atol=1e-5)


def test_other_weights_than_the_offline_ones(validate):
    def damage(folder):
        path = folder / "Format-Keras" / "model.keras"
        model = keras.models.load_model(path, compile=False)
        tower = model.towers["minutes"].trainable_variables[-1]  # the last bias
        tower.assign(tower + 0.25)
        model.save(path)

    summary, reasons = validate(damage)
    assert not summary["blessed"]
    # `classify` gives the probability of a click alone, which has not changed.
    asked = ["examples", "rank", "regress", "serving_default", "transformed"]
    where = [f"{name} over HTTP" for name in asked]
    assert [reason.split(":")[0] for reason in reasons] == where
    assert all("minutes must be within 1e-05" in reason for reason in reasons)
    assert 0.1 < summary["difference"] <= 0.2501


def test_rows_whose_transform_has_changed(validate, artifacts, tmp_path):
    # Other rows stand in for those that another transform would have made.
    wrong = tmp_path / "wrong" / "Split-test"
    shutil.copytree(artifacts["transformed_examples"] / "Split-train", wrong)
    summary, reasons = validate(transformed_examples=wrong.parent)
    assert not summary["blessed"]
    # `transformed` takes the records themselves: there, nothing is wrong.
    where = {reason.split(":")[0] for reason in reasons}
    assert "transformed over HTTP" not in where
    assert any(r.startswith("serving_default over HTTP: click must") for r in reasons)
    assert "Row" in reasons[0] and "offline" in reasons[0]


def test_a_model_without_variables_does_not_load(validate, tmp_path):
    summary, reasons = validate(
        lambda folder: shutil.rmtree(folder / "Format-Serving" / "variables")
    )
    assert not summary["blessed"] and summary["difference"] is None
    assert reasons[0].startswith("serving_default over HTTP: ")
    (folder,) = (path for path in tmp_path.iterdir() if path.name == "infra_blessing")
    assert blessing.read(folder) == reasons  # which the Pusher reads


def test_a_signature_that_fails_is_named(validate):
    class Unsound(tf.Module):
        def __init__(self):
            super().__init__()
            self.zero = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "user")])
        def default(self, user):
            score = tf.strings.to_number(tf.strings.regex_replace(user, ".*", "0.5"))
            return {"click": score[:, None] + self.zero}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32, "ids")])
        def rank(self, ids):
            return {"score": 1.0 / tf.cast(ids, tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def other(self, x):
            with tf.control_dependencies([tf.debugging.assert_positive(x)]):
                return {"y": x + self.zero}

    def damage(folder):
        shutil.rmtree(folder / "Format-Serving")
        unsound = Unsound()
        tf.saved_model.save(
            unsound,
            str(folder / "Format-Serving"),
            signatures={
                "serving_default": unsound.default,
                "rank": unsound.rank,
                "other": unsound.other,
            },
        )

    _, reasons = validate(damage)
    by_name = {reason.partition(": ")[0]: reason for reason in reasons}
    assert "the call fails: assertion failed: [] [Condition x > 0" in by_name["other"]
    assert "not finite" in by_name["rank"]
    assert any(
        reason == "serving_default over HTTP: there is no output 'minutes'"
        for reason in reasons
    )


def test_splits_of_different_length(validate, artifacts, tmp_path):
    shutil.copytree(
        artifacts["transformed_examples"] / "Split-valid", tmp_path / "w" / "Split-test"
    )
    with pytest.raises(PipelineError, match="Received: 120 and 20"):
        validate(transformed_examples=tmp_path / "w")
