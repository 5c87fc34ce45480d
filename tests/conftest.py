"""What tests share: seeds, a clock, configs, a small model and its server."""

import asyncio
import gc
import random
import shutil
import threading

import keras
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, settings
from loop_clock import LoopClock
from tensorflow.python.eager import context

import serving
from pipeline.config import Config
from serving.models.servable import Servable

_SPEC = tf.TensorSpec

settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any speed")


def pytest_collection_finish():
    """Keeps what imports have made, half a million objects, out of collections.

    And lets collections be seldom: tracing makes many objects that stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def _set_global_seed(self, seed):
    """Sets TensorFlow's seed, and nothing else.

    Its own function throws away besides what has been optimized of every operation,
    which then costs half a second.
    """
    self._seed, self._rng = seed, random.Random(int(seed))


context.Context._set_global_seed = _set_global_seed


@pytest.fixture(autouse=True)
def seeded():
    """Same weights in every run: a unit that happens to be dead fails no test."""
    keras.utils.set_random_seed(7)


def raw_config(data=(), features=("user",), tasks=("click",), **sections):
    """A config as YAML has it, with what must be there and what is given.

    Args:
        data: dict. Entries of `data` to add or to replace.
        features: sequence of dict or str. A str is the name of a categorical one.
        tasks: sequence of dict or str. A str is the name of a binary one.
        **sections: Further sections, and those to replace.
    """
    split = {"by": "hash", "column": "user"}
    return {
        "name": "small",
        "workspace": "unused",
        "data": {"logs": ["unused"], "split": split, **dict(data)},
        "features": [
            {"name": f, "kind": "categorical"} if isinstance(f, str) else f
            for f in features
        ],
        "tasks": [{"name": t} if isinstance(t, str) else t for t in tasks],
        "push": {"destination": "unused"},
        **sections,
    }


def make_config(*args, **sections):
    """The config of which `raw_config` is the YAML."""
    return Config.model_validate(raw_config(*args, **sections))


class Toy(tf.Module):
    """Adds a bias, which tells the versions apart, to what it is given."""

    def __init__(self, bias):
        super().__init__()
        self.bias = tf.Variable(bias, dtype=tf.float32)

    @tf.function(
        input_signature=[
            _SPEC([None], tf.string, "user"),
            _SPEC([None], tf.float32, "price"),
            _SPEC([None, 2], tf.string, "history"),
        ]
    )
    def rank(self, user, price, history):
        length = tf.strings.length(user) + tf.reduce_sum(tf.strings.length(history), 1)
        return {
            "click": (price + self.bias)[:, None],  # (batch, 1)
            "watch": tf.cast(length, tf.float32)[:, None],
        }

    @tf.function(
        input_signature=[
            _SPEC(None, tf.int32, "i32"),
            _SPEC(None, tf.uint64, "u64"),
            _SPEC(None, tf.float32, "f32"),
            _SPEC(None, tf.float64, "f64"),
            _SPEC(None, tf.bool, "flag"),
            _SPEC(None, tf.string, "text"),
        ]
    )
    def echo(self, i32, u64, f32, f64, flag, text):
        same = dict(i32=i32, u64=u64, f32=f32, f64=f64, flag=flag, text=text)
        same["text_bytes"] = text
        return {name: tf.identity(value) for name, value in same.items()}

    @tf.function(input_signature=[_SPEC([None], tf.float32, "x")])
    def add(self, x):
        return {"y": x + self.bias}

    @tf.function(input_signature=[_SPEC([None], tf.float32, "x")])
    def total(self, x):
        return {"sum": tf.reduce_sum(x)}

    @tf.function(input_signature=[_SPEC([None], tf.float32, "x")])
    def half(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @tf.function(input_signature=[_SPEC([None], tf.float32, "x")])
    def positive(self, x):
        check = tf.debugging.assert_positive(x, message="x must be positive")
        with tf.control_dependencies([check]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[_SPEC([None], tf.int32, "steps")])
    def slow(self, steps):
        matrix = tf.eye(256) * 0.5
        result = matrix
        for _ in tf.range(steps[0]):
            result = tf.matmul(result, matrix) + 1.0
        return {"y": tf.reshape(result[0, 0], [1])}

    @tf.function(input_signature=[_SPEC([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self._x(inputs)[:, None] + self.bias}

    @tf.function(input_signature=[_SPEC([None], tf.string, "inputs")])
    def classify(self, inputs):
        x = self._x(inputs)
        labels = tf.tile(tf.constant([["no", "yes"]]), [tf.size(x), 1])
        return {"classes": labels, "scores": tf.stack([1 - x, x], 1)}

    def _x(self, examples):
        spec = {"x": tf.io.FixedLenFeature([], tf.float32)}
        return tf.io.parse_example(examples, spec)["x"]


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """SavedModels of two versions: the bias of "one" is 1, that of "two" is 2."""
    base = tmp_path_factory.mktemp("saved")
    names = "echo add total half positive slow regress classify".split()
    for name, bias in (("one", 1.0), ("two", 2.0)):
        toy = Toy(bias)
        signatures = {"serving_default": toy.rank}
        signatures |= {signature: getattr(toy, signature) for signature in names}
        tf.saved_model.save(toy, str(base / name), signatures=signatures)
    return base


@pytest.fixture(scope="session")
def base_path(saved_models, tmp_path_factory):
    """A base path with versions 1 and 2, never changed by a test."""
    base = tmp_path_factory.mktemp("toy")
    shutil.copytree(saved_models / "one", base / "1")
    shutil.copytree(saved_models / "two", base / "2")
    (base / "not-a-version").mkdir()
    return base


@pytest.fixture(scope="session")
def server(base_path):
    """A server of both versions, shared by the tests that only ask."""
    labels = {"stable": 1, "gone": 9}
    with serving.start(base_path, "toy", versions="all", labels=labels) as server:
        yield server


@pytest.fixture(scope="session")
def clock():
    """The clock of the event loops, for tests to move on.

    It is never put back: a loop that still runs, as that of the fixture `server`, would
    wait until the real time has caught up.
    """
    clock = LoopClock()
    asyncio.BaseEventLoop.time = lambda loop: clock.time(loop)
    return clock


class Gate:
    """Holds the runs of a signature at work, until it is opened."""

    def __init__(self):
        self._entered, self._open = [], threading.Event()

    @property
    def held(self):
        """How many runs have come."""
        return len(self._entered)

    def hold(self):
        self._entered.append(None)
        self._open.wait()

    def open(self):
        self._open.set()


@pytest.fixture
def gate(monkeypatch):
    """A gate for the signature "slow" of the toy model, in servers of this process."""
    gate, run = Gate(), Servable.run_alone

    def run_alone(servable, signature, inputs):
        if signature.name == "slow":
            gate.hold()
        return run(servable, signature, inputs)

    monkeypatch.setattr(Servable, "run_alone", run_alone)
    yield gate
    gate.open()
