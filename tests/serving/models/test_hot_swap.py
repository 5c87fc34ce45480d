"""Versions that come, go, and fail, while the model is being asked."""

import gc
import shutil
import threading
import weakref

import keras
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from until import until

import serving
from serving.config.server import ModelConfig
from serving.errors import ServingError
from serving.models.model import Model
from serving.models.servable import Servable
from serving.models.warmup import WARMUP_FILE, write_warmup
from serving.release.publish import publish
from serving.server import StartError

_ONE = {"x": np.zeros(1, np.float32)}


@pytest.fixture
def base(saved_models, tmp_path):
    """A base path of its own, with version 1 published."""
    publish(saved_models / "one", tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture
def model(base):
    """The model of `base`, polled once."""
    model = Model(ModelConfig("toy", base))
    model.poll()
    yield model
    model.close()


def _add_zero(model):
    with model.acquire() as (_, servable):
        return servable.run(servable.signature("add"), _ONE)["y"][0]


def test_a_new_version_takes_over_and_requests_in_flight_finish(
    model, base, saved_models
):
    order = []
    with model.acquire() as (number, servable):
        close = servable.close
        servable.close = lambda: (order.append("unloaded"), close())
        publish(saved_models / "two", base)
        polling = threading.Thread(target=model.poll)
        polling.start()
        states = ["AVAILABLE", "UNLOADING"]
        until(lambda: [s for _, s, _ in model.states()] == states, "2 takes over")
        assert number == 1 and _add_zero(model) == 2.0  # new requests: version 2
        old = servable.run(servable.signature("add"), _ONE)  # this one: version 1
        assert old["y"] == [1.0]
        order.append("answered")
    polling.join()
    assert order == ["answered", "unloaded"]  # it has waited for us
    assert [(n, s) for n, s, _ in model.states()] == [(2, "AVAILABLE"), (1, "END")]
    with pytest.raises(ServingError, match=r"Specific\(toy, 1\)"):
        model.acquire(1).__enter__()


def test_removing_the_newest_goes_back_and_removing_all_ends(model, base, saved_models):
    publish(saved_models / "two", base)
    model.poll()
    shutil.rmtree(base / "2")
    model.poll()
    assert _add_zero(model) == 1.0
    shutil.rmtree(base / "1")
    model.poll()
    with pytest.raises(ServingError, match=r"Latest\(toy\)"):
        model.acquire().__enter__()


def test_a_base_path_out_of_reach_changes_nothing(model, base):
    base.rename(base.with_name("away"))
    model.poll()
    assert _add_zero(model) == 1.0


@pytest.mark.parametrize(
    "break_it, reason",
    [
        (lambda path: (path / "saved_model.pb").unlink(), "should have a file called"),
        (
            lambda path: (path / "saved_model.pb").write_bytes(b"\x0a\xff"),
            "saved_model.pb",
        ),
        (lambda path: shutil.rmtree(path / "variables"), "needs its variables/"),
        (
            lambda path: write_warmup(path, {"add": [{"wrong": np.zeros(1)}]}),
            "Warm-up request 0 failed: The inputs must be ['x']",
        ),
        (
            lambda path: write_warmup(path, {"positive": [{"x": -_ONE["x"] - 1}]}),
            "x must be positive",
        ),
        (lambda path: write_warmup(path, {"no": [_ONE]}), '"no" not found'),
        (
            lambda path: (
                (path / WARMUP_FILE.parent).mkdir(),
                (path / WARMUP_FILE).write_text("these are no records"),
            ),
            "Cannot read warm-up request 0",
        ),
    ],
    ids="no-pb cut-pb no-variables input value signature no-records".split(),
)
def test_a_broken_version_is_refused_and_the_old_one_serves_on(
    model, base, saved_models, break_it, reason
):
    broken = shutil.copytree(saved_models / "two", base / "2")
    break_it(broken)
    model.poll()
    (number, state, error), old = model.states()
    assert (number, state) == (2, "END") and reason in error.message
    assert old == (1, "AVAILABLE", None) and _add_zero(model) == 1.0
    # It is not tried again as it is, but it is once it has been put right.
    model.poll()
    assert model.states()[0][2] is error
    shutil.rmtree(broken / WARMUP_FILE.parent, ignore_errors=True)
    shutil.copytree(saved_models / "two", broken, dirs_exist_ok=True)
    model.poll()
    assert _add_zero(model) == 2.0


def test_warm_up_of_every_kind_is_replayed(saved_models, tmp_path, caplog):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(1.0)
    logs = []
    for kind in ("classify", "regress"):
        log = PredictionLog()
        request = getattr(log, f"{kind}_log").request
        request.model_spec.signature_name = kind
        request.input.example_list.examples.append(example)
        logs.append(log)
        task = logs[0].__class__()
        request = task.multi_inference_log.request
        request.input.example_list_with_context.context.CopyFrom(example)
        request.input.example_list_with_context.examples.add()
        inference = request.tasks.add(method_name=f"tensorflow/serving/{kind}")
        inference.model_spec.signature_name = kind
        logs.append(task)
    path = shutil.copytree(saved_models / "one", tmp_path / "toy" / "1")
    write_warmup(path, {"add": [_ONE]})
    with tf.io.TFRecordWriter(str(path / WARMUP_FILE)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    model = Model(ModelConfig("toy", tmp_path / "toy"))
    with caplog.at_level("INFO", "serving"):
        model.poll()
    assert "4 warm-up requests" in caplog.text
    model.close()


def test_write_warmup_refuses_an_empty_list(tmp_path):
    with pytest.raises(ValueError, match="1 to 1000 requests. Received: 0"):
        write_warmup(tmp_path, {})


def test_a_model_that_lives_by_its_python_objects_fails_as_in_a_server(tmp_path):
    """A Keras model in a bare tf.Module loads in Python, yet a server refuses it."""

    class Wrapped(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
        def call(self, x):
            return {"y": self.model(x)}

    wrapped = Wrapped()
    path = tmp_path / "toy" / "1"
    tf.saved_model.save(wrapped, str(path), signatures=wrapped.call)
    inputs = {"x": np.ones((1, 1), np.float32)}
    loaded = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert loaded(x=tf.constant(inputs["x"]))["y"].shape == (1, 1)
    model = Model(ModelConfig("toy", tmp_path / "toy"))
    model.poll()
    with model.acquire() as (_, servable), pytest.raises(ServingError) as caught:
        servable.run(servable.signature(""), inputs)
    assert "Could not find variable" in caught.value.message
    model.close()
    # The remedy: it never becomes available.
    write_warmup(path, {"serving_default": [inputs]})
    with pytest.raises(StartError, match="Could not find variable"):
        serving.start(tmp_path / "toy", "toy")


def test_policies(saved_models, tmp_path):
    for number in (1, 2, 3):
        shutil.copytree(saved_models / "one", tmp_path / str(number))
    for versions, expected in ((2, [3, 2]), ((1, 3, 9), [3, 1])):
        model = Model(ModelConfig("toy", tmp_path, versions))
        model.poll()
        assert model.available() == expected
        model.close()


def test_start_falls_back_on_the_newest_version_that_works(base, saved_models):
    broken = shutil.copytree(saved_models / "two", base / "2")
    shutil.rmtree(broken / "variables")
    with serving.start(base, "toy", poll_seconds=0.05) as server:
        url = server.url + "/v1/models/toy"
        states = requests.get(url, timeout=240).json()["model_version_status"]
        assert [state["state"] for state in states] == ["END", "AVAILABLE"]
        assert states[0]["status"]["error_code"] == "NOT_FOUND"
        publish(saved_models / "two", base, keep=1)  # over HTTP, while it serves
        body = '{"signature_name": "add", "instances": [0]}'

        def answered():
            answer = requests.post(url + ":predict", body, timeout=240)
            assert answer.status_code == 200, answer.text
            (value,) = answer.json()["predictions"]
            assert value in (1.0, 2.0)
            return value

        until(lambda: answered() == 2.0, "version 2 answers")
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_an_unloaded_version_is_freed(model, base, saved_models):
    with model.acquire() as (_, servable):
        graph = weakref.ref(servable._session.graph)
    del servable
    publish(saved_models / "two", base)
    model.poll()
    assert model.available() == [2] and graph() is None


def test_a_version_that_failed_to_warm_up_is_freed(model, base, saved_models):
    broken = shutil.copytree(saved_models / "two", base / "2")
    write_warmup(broken, {"add": [{"wrong": np.zeros(1)}]})
    gc.collect()
    before = sum(isinstance(found, tf.Graph) for found in gc.get_objects())
    model.poll()
    assert model.states()[0][1] == "END"
    assert sum(isinstance(found, tf.Graph) for found in gc.get_objects()) == before


def test_tables_are_filled_from_the_versions_own_assets(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )  # fmt: skip
    spec = tf.TensorSpec([None], tf.string, "word")
    module.find = tf.function(lambda word: {"at": module.table[word]}, [spec])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.find)
    words.unlink()
    (tmp_path / "saved").rename(tmp_path / "moved")
    servable = Servable(tmp_path / "moved")
    found = servable.run(servable.signature(""), {"word": np.array([b"two", b"no"])})
    assert found["at"].tolist() == [1, -1]
    servable.close()


def test_what_is_not_tagged_for_serving_is_refused(saved_models, tmp_path):
    path = shutil.copytree(saved_models / "one", tmp_path / "1")
    message = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    message.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    (path / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(ServingError, match=r"supplied tags: \{ serve \}"):
        Servable(path)


def test_loading_makes_no_python_objects_of_the_graph(saved_models):
    gc.collect()
    before = sum(isinstance(found, tf.Operation) for found in gc.get_objects())
    servable = Servable(saved_models / "one")
    after = sum(isinstance(found, tf.Operation) for found in gc.get_objects())
    graph = weakref.ref(servable._session.graph)
    servable.close()
    del servable
    assert after == before and graph() is None  # and no cycles hold it
