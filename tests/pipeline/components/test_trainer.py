"""The Trainer on a small feed: resume, warm start, workers, determinism, faults."""

import dataclasses
import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import small_feed
import tensorflow as tf
from quick_model import eager_steps
from small_feed import FEED

import tfmtl
from pipeline import config as configs
from pipeline.components.trainer import component, inspection, workers
from pipeline.components.trainer.component import trainer
from pipeline.config import ConfigError
from pipeline.errors import PipelineError
from pipeline.run import run
from tfmtl import model_card
from tfmtl.training import Checkpoints
from tfmtl.training.warm_start import places


@dataclasses.dataclass
class Road:
    """What the stages before the Trainer wrote, and where it writes."""

    folder: Path
    inputs: dict[str, Path]
    options = "{units: [8], dropout: 0.1}"

    def config(self, **train):
        values = {
            "data.options.impressions": 3000,
            "model.options": self.options,
            "train": json.dumps({"epochs": 2, "batch_size": 256, **train}),
        }
        return small_feed.config(self.folder, **values)

    def train(self, name, **train):
        """Returns the folder of the model and the summary."""
        outputs = {n: self.folder / name / n for n in ("model", "checkpoints")}
        for folder in outputs.values():
            folder.mkdir(parents=True)
        summary = trainer(self.config(**train), self.inputs, outputs)
        return outputs["model"], summary

    def fit(self, name, **train):
        """Trains without export; returns the weights of the best epoch, and lines."""
        config, outputs = self.config(**train), {"checkpoints": self.folder / name}
        outputs["checkpoints"].mkdir(exist_ok=True)
        lines = workers.run(config, self.inputs, outputs, component.fit)
        sizes = (self.inputs["transform_graph"] / "features.json").read_text()
        model = component.build(config, *component.declare(config, json.loads(sizes)))
        checkpoints = Checkpoints(outputs["checkpoints"], config.train.monitor)
        checkpoints.resume(model)
        checkpoints.restore_best(model)
        return model.get_weights(), lines


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    road = Road(tmp_path_factory.mktemp("trainer"), {})
    road.inputs = run(road.config(), until="Transform", report=lambda line: None)
    return road


_OWN = """
import keras

seen = []


class Watch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append((epoch, logs["val_loss"]))


def make():
    return Watch()


number = 3
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A module with callbacks, which have seen the training of `trained`."""
    folder, name = tmp_path_factory.mktemp("own"), "own_callbacks_of_a_test"
    (folder / f"{name}.py").write_text(_OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(name)
    del sys.modules[name]


@pytest.fixture(scope="module")
def trained(road, own):
    callbacks = [f"{own.__name__}:Watch", f"{own.__name__}:make"]
    return road.train("trained", steps_per_epoch=3, callbacks=callbacks)


def _weights(model):
    """What `fit` has learnt: without the calibration."""
    model = keras.models.load_model(model / "Format-Keras" / "model.keras")
    model.reset_calibrations()
    return model.get_weights()


def _equal(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_what_it_writes(trained):
    model, summary = trained
    history = json.loads((model / "history.json").read_text())["epochs"]
    assert summary["epochs"] == len(history) == 2
    assert summary["best_epoch"] in (1, 2)
    assert (model / "Format-Serving" / "saved_model.pb").is_file()
    units = json.loads((model / "gates.json").read_text())["units"]
    assert "shared_bottom/sharing/bottom/dense_0" in units


def test_gates_of_domains_by_their_values_and_parameters(road, tmp_path):
    config = road.config()
    options = {"experts": 2, "expert_units": (8,)}
    mmoe = config.model.model_copy(update={"architecture": "mmoe", "options": options})
    config = config.model_copy(update={"model": mmoe})
    sizes = (road.inputs["transform_graph"] / "features.json").read_text()
    model = component.build(config, *component.declare(config, json.loads(sizes)))
    (kernel,) = [w for w in model.sharing.weights if w.path.endswith("kernel_0")]
    first_alone = kernel.numpy()  # (width, 2 experts * 8)
    first_alone[:, 8:] = 0
    kernel.assign(first_alone)
    warnings = inspection.write(config, model, road.inputs, tmp_path)
    assert any("Expert expert_1 gives the same for every row" in w for w in warnings)
    found = json.loads((tmp_path / "gates.json").read_text())
    gate = found["gates"]["mmoe/sharing/click_gate"]
    rows = {tab: part["rows"] for tab, part in gate["domains"].items()}
    assert set(rows) == {"slide", "featured", "discovery"}
    assert sum(rows.values()) == gate["rows"] > 0
    counts = json.loads((tmp_path / "parameters.json").read_text())
    assert counts["parameters"] == model.count_params() == sum(counts["parts"].values())
    tables = sum(table["parameters"] for table in counts["tables"].values())
    assert tables == counts["parts"]["embedding"]


def test_what_is_served_is_calibrated_on_the_valid_split(road, trained):
    folder, summary = trained
    (line,) = (note for note in summary["notes"] if "calibrated" in note)
    found = re.fullmatch(
        r"watch_seconds: calibrated by scale, 0\.\d\d -> \d\.\d\d on valid, "
        r"(\d) values of tab apart",
        line,
    )
    model = keras.models.load_model(folder / "Format-Keras" / "model.keras")
    files = road.inputs["transformed_examples"] / "Split-valid" / "*.tfrecord.gz"
    data = tfmtl.data.read(str(files), model.features, model.tasks, 256)
    served = tf.saved_model.load(str(folder / "Format-Serving"))
    total, labels = np.zeros((2, 10))  # by tab
    for x, y in data:
        x = {f.name: tf.cast(x[f.name], f.dtype) for f in model.features}
        predicted = served.signatures["transformed"](**x)["watch_seconds"]
        offline = model(x)["watch_seconds"]
        np.testing.assert_allclose(predicted, offline, rtol=1e-5)
        played = (y["played"] == 1).numpy()
        tab = x["tab"].numpy().reshape(-1)[played]
        np.add.at(total, tab, predicted.numpy()[played, 0])
        np.add.at(labels, tab, y["watch_seconds"].numpy()[played])
    card = model_card.read(folder / "Format-Serving")["calibration"]
    assert list(card) == ["watch_seconds"]
    assert card["watch_seconds"]["method"] == "scale"
    assert card["watch_seconds"]["before"] < 1
    after = total.sum() / labels.sum()
    assert card["watch_seconds"]["after"] == pytest.approx(after, rel=1e-5)
    apart = card["watch_seconds"]["apart"]
    assert len(apart) == int(found[1]) > 0
    np.testing.assert_allclose(total[apart], labels[apart], rtol=1e-4)


def test_tensorboard_holds_losses_and_metrics_of_every_task(trained):
    model, _ = trained
    history = json.loads((model / "history.json").read_text())["epochs"]
    found = {}
    for split, prefix in {"train": "", "validation": "val_"}.items():
        (events,) = (model / "logs" / split).glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(events)):
            for value in event.summary.value:
                name = prefix + value.tag.removeprefix("epoch_")
                number = float(tf.make_ndarray(value.tensor))
                found[name, event.step] = number
    for name in ("click_loss", "val_click_auc", "watch_seconds_mae", "val_loss"):
        for epoch in (0, 1):
            assert found[name, epoch] == pytest.approx(history[epoch][name], rel=1e-5)


@pytest.mark.slow  # the library's own tests cover most of it
def test_a_training_that_stopped_goes_on_to_the_same_end(road, trained, monkeypatch):
    """Epochs end within a pass over the data; dropout draws on."""
    stop = keras.callbacks.TensorBoard.on_train_batch_end

    def fails(self, batch, logs=None):
        stop(self, batch, logs)
        if int(self.model.optimizer.iterations) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_train_batch_end", fails)
    options = {"steps_per_epoch": 3, "checkpoint": {"steps": 2}}
    with pytest.raises(KeyboardInterrupt):
        road.fit("stopped", **options)
    monkeypatch.undo()
    left = Checkpoints(road.folder / "stopped")
    assert (len(left.history), left.step) == (1, 2)
    weights, _ = road.fit("stopped", **options)
    _equal(weights, _weights(trained[0]), atol=1e-6)


@pytest.mark.slow  # the library's own tests cover most of it
def test_the_same_seed_gives_the_same_bits(road, trained):
    again, _ = road.fit("again", steps_per_epoch=3)
    _equal(again, _weights(trained[0]), rtol=0, atol=0)


def test_callbacks_see_every_epoch(trained, own):
    history = json.loads((trained[0] / "history.json").read_text())["epochs"]
    wanted = [(epoch, history[epoch]["val_loss"]) for epoch in (0, 1)]
    assert own.seen == [wanted[0], wanted[0], wanted[1], wanted[1]]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("no_such_package:A", "train.callbacks.0: .* cannot be imported: No module"),
        ("own_callbacks_of_a_test:A", "cannot be imported: .* has no attribute 'A'"),
        ("own_callbacks_of_a_test:number", "must be a class, .* Received: a int"),
    ],
)
def test_callbacks_that_are_none_are_refused_before_any_work(
    callback, message, road, own
):
    with pytest.raises(ConfigError, match=message):
        component.check(road.config(callbacks=[callback]))


def test_what_gives_no_callback_is_refused(road):
    with pytest.raises(ConfigError, match="must give a keras.* It gave a dict"):
        road.fit("none", callbacks=["builtins:dict"])


@pytest.mark.slow
def test_mlflow_records_every_epoch(road, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as started:
        callbacks = ["mlflow.keras:MlflowCallback"]
        road.fit("mlflow", steps_per_epoch=1, callbacks=callbacks)
        mlflow.flush_async_logging()
    client = mlflow.MlflowClient()
    found = client.get_metric_history(started.info.run_id, "val_loss")
    history = Checkpoints(road.folder / "mlflow").history
    assert [m.value for m in found] == [epoch["val_loss"] for epoch in history]


def test_warm_start_from_what_is_served(road, trained, tmp_path, monkeypatch):
    """The vocabulary of the served model is another one, so rows move."""
    model, _ = trained
    served = road.folder / "served" / "1"
    shutil.copytree(model / "Format-Serving", served)
    words = served / "assets" / "video_id.txt"
    old = words.read_text().splitlines()
    words.write_text("\n".join([old[1], old[0], *old[2:-1]]) + "\n")
    config = road.config(warm_start="served")
    sizes = json.loads((road.inputs["transform_graph"] / "features.json").read_text())
    new = component.build(config, *component.declare(config, sizes))
    before = new.embedding.table("video_id")
    lines = component.warm_start.apply(config, new, road.inputs["transform_graph"])
    after = new.embedding.table("video_id")
    trained_model = keras.models.load_model(model / "Format-Keras" / "model.keras")
    learnt = trained_model.embedding.table("video_id")
    np.testing.assert_array_equal(after[[1, 2]], learnt[[2, 1]])
    np.testing.assert_array_equal(after[3:-1], learnt[3:-1])
    np.testing.assert_array_equal(after[-1], before[-1])
    tower = (new.towers["like"].logit.kernel, trained_model.towers["like"].logit.kernel)
    np.testing.assert_array_equal(*tower)
    count = len(places(new))
    assert f"{count} of {count} weights" in lines[0]
    assert f"video_id {len(old) - 1:,} of {len(old):,}" in lines[1]
    # In a training, from a model's folder.
    monkeypatch.setattr(tfmtl.MultiTaskModel, "fit", lambda *_, **__: None)
    config = road.config(warm_start=str(model))
    lines = component.fit(config, road.inputs, {"checkpoints": tmp_path})
    assert f"{count} of {count} weights" in lines[0]
    with pytest.raises(ConfigError, match="needs assets.extra/variables.json"):
        component.check(road.config(warm_start=str(tmp_path)))


@pytest.mark.slow
def test_compact_tables_are_told_written_and_started_from(road, monkeypatch):
    whole = Road.config

    def config(road, **train):
        found = whole(road, **train)
        export = found.export.model_copy(update={"tables": "int8"})
        return found.model_copy(update={"export": export})

    monkeypatch.setattr(Road, "config", config)
    model, summary = road.train("int8", epochs=1, steps_per_epoch=2)
    (line,) = (note for note in summary["notes"] if "rounded to int8" in note)
    assert re.search(r"click_auc 0\.\d{5} -> 0\.\d{5}", line)
    learnt = keras.models.load_model(model / "Format-Keras" / "model.keras")
    started = road.config(warm_start=str(model))
    sizes = json.loads((road.inputs["transform_graph"] / "features.json").read_text())
    new = component.build(started, *component.declare(started, sizes))
    component.warm_start.apply(started, new, road.inputs["transform_graph"])
    for name in ("video_id", "user_id"):
        rows = learnt.embedding.table(name)
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        np.testing.assert_allclose(rows / scale, np.rint(rows / scale), atol=1e-3)
        np.testing.assert_allclose(new.embedding.table(name), rows, rtol=1e-6)


def test_tables_are_declared_as_the_config_has_them(road):
    tables = {
        "user_id": {"capacity": 500, "min_score": 3.0, "decay": 0.9, "pass_steps": 9},
        "video_id": {"oov_buckets": 20, "table": "video"},
        "author_id": {"hash_buckets": 100, "num_hashes": 2},
        "category": {"hash_buckets": 10},
    }
    pooling = {"pooling": "target_attention", "target": "category"}
    overrides = [
        f"features.{name}.{key}={value}"
        for name, options in {**tables, "watched": pooling}.items()
        for key, value in options.items()
    ]
    config = configs.load(FEED, [*overrides, "features.duration.piecewise_linear=4"])
    made = {"size": 501, "boundaries": [0.0, 2.0, 5.0]}
    features, _ = component.declare(
        config, {f.name: {"kind": f.kind, **made} for f in config.features}
    )
    found = {feature.name: feature for feature in features}
    size = {"vocabulary_size": 501}
    for name, options in {
        "user_id": tables["user_id"],
        "video_id": {**size, **tables["video_id"]},
        "author_id": {"num_buckets": 501, "num_hashes": 2},
        "category": size,
    }.items():
        assert found[name] == tfmtl.Categorical(name, **options)
    assert found["watched"] == tfmtl.Sequence("watched", "video_id", 20, **pooling)
    assert found["duration"] == tfmtl.Numeric("duration", (0.0, 2.0, 5.0), 8)
    component.check(config)


def test_a_schedule_goes_over_the_whole_training(road):
    steps = {"epochs": 2, "steps_per_epoch": 2, "learning_rate": 0.01}
    warm = {"name": "cosine", "warmup": 1}
    for schedule, rates in [
        ("cosine", {0: 0.01, 2: 0.005, 4: 0.0}),
        (warm, {0: 0.0, 1: 0.005, 2: 0.01, 3: 0.005, 4: 0.0}),
    ]:
        config = road.config(**steps, schedule=schedule)
        optimizer = component._model(config, road.inputs).optimizer
        found = []
        for iterations in rates:
            optimizer.iterations.assign(iterations)
            found.append(float(optimizer.learning_rate))
        np.testing.assert_allclose(found, [*rates.values()], rtol=1e-6, atol=1e-9)
    with pytest.raises(ConfigError, match="train.schedule: .*mean 'cosine'"):
        component.check(road.config(schedule="cosin"))


def test_a_nan_names_task_and_step(road, tmp_path, monkeypatch):
    def read(*args, **kwargs):
        dataset = actual(*args, **kwargs)
        if "start" not in kwargs:
            return dataset

        def spoil(step, batch):
            x, y = batch
            spoilt = tf.where(step == 4, float("inf"), y["watch_seconds"])
            return x, {**y, "watch_seconds": spoilt}

        return dataset.enumerate().map(spoil)

    actual = component.tfmtl.data.read
    monkeypatch.setattr(component.tfmtl.data, "read", read)
    expected = "'watch_seconds' is (nan|inf) at step 2 of epoch 2.*epoch 1 is kept"
    with pytest.raises(PipelineError, match=expected), eager_steps():
        road.fit("nan", steps_per_epoch=3)


def test_a_monitor_needs_a_direction(road):
    with pytest.raises(ConfigError, match="train.mode: .* does not say"):
        component.check(road.config(monitor="happiness"))


@pytest.mark.slow
def test_two_workers_train_what_one_does(road, monkeypatch):
    # Dropout would draw other numbers for half a batch.
    monkeypatch.setattr(Road, "options", "{units: [8]}")
    options = {"epochs": 1, "steps_per_epoch": 3}
    one, _ = road.fit("one", **options)
    two, _ = road.fit("two", workers=2, **options)
    _equal(one, two, atol=1e-4)


@pytest.mark.slow
def test_two_workers_share_the_tables_of_a_served_model(road, trained, monkeypatch):
    monkeypatch.setattr(Road, "options", "{units: [8]}")
    whole = Road.config

    def config(road, **train):
        found = whole(road, **train)
        features = [
            f.model_copy(update={"sharded": True}) if f.kind == "categorical" else f
            for f in found.features
        ]
        return found.model_copy(update={"features": features})

    served = str(trained[0] / "Format-Serving")
    options = {"epochs": 1, "steps_per_epoch": 3, "warm_start": served}
    monkeypatch.setattr(Road, "config", config)
    one, _ = road.fit("one_shard", **options)
    two, _ = road.fit("two_shards", workers=2, **options)
    _equal(one, two, atol=1e-4)


@pytest.mark.slow
def test_a_worker_that_fails_is_told(road, tmp_path):
    config = road.config(workers=2)
    with pytest.raises(PipelineError, match=r"worker \d of 2 has ended with code 1"):
        workers.run(config, {}, {"checkpoints": tmp_path}, component.fit)


def test_an_early_stop_says_why():
    config = configs.load(FEED, ["train.epochs=3"])
    assert component._early(config, 2, 3) == []
    (line,) = component._early(config, 1, 2)
    assert (
        line == "stopped after 2 of 3 epochs: val_loss has not improved since epoch 1"
    )
