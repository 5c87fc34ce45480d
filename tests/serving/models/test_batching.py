"""Requests that run together: which do, and that nobody notices."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from until import until

from serving.config.batching import BatchingConfig, read_batching_file
from serving.config.server import ModelConfig
from serving.errors import ServingError
from serving.models.batching import Batcher
from serving.models.model import Model
from serving.server import Server


@pytest.fixture
def run(base_path):
    """Runs a signature through a batcher; `run.sizes` are the batches of one model."""
    opened = []

    def make(**options):
        batcher = Batcher(BatchingConfig(**options))
        model = Model(ModelConfig("toy", base_path, "all"), batcher=batcher)
        model.poll()
        opened.append((model, batcher))
        sizes = []

        def run(signature, version=2, **inputs):
            with model.acquire(version) as (_, servable):
                return servable.run(servable.signature(signature), inputs)

        for version in (1, 2):
            with model.acquire(version) as (_, servable):
                _record(servable, sizes)
        run.sizes = sizes
        run.waiting = lambda: sum(
            len(queue.tasks) for queue in list(batcher._queues.values())
        )
        return run

    yield make
    for model, batcher in opened:
        model.close()
        batcher.close()


def _record(servable, sizes):
    alone = servable.run_alone

    def recorded(signature, inputs):
        if signature.name != "slow":
            sizes.append((signature.name, [value.shape for value in inputs.values()]))
        return alone(signature, inputs)

    servable.run_alone = recorded


def _float(*values):
    return np.array(values, np.float32)


def _result(call):
    try:
        return call()
    except ServingError as error:
        return error


@contextlib.contextmanager
def _held(ask, gate):
    """Keeps the one thread of a batcher busy; gives a pool for what waits for it."""
    with ThreadPoolExecutor(9) as pool:
        pool.submit(ask, "slow", steps=np.array([1], np.int32))
        until(lambda: gate.held, "its thread is busy")
        try:
            yield pool
        finally:
            gate.open()


def _together(ask, gate, *calls):
    """Runs requests, all of which wait before one is taken; gives results or errors."""
    with _held(ask, gate) as pool:
        answers = [pool.submit(_result, call) for call in calls]
        until(lambda: ask.waiting() == len(calls), "all of them wait")
    return [answer.result() for answer in answers]


def test_requests_meet_in_a_batch_and_get_their_own_rows(run, gate):
    ask = run(num_batch_threads=1)
    one, two = _together(
        ask, gate, lambda: ask("add", x=_float(1, 2)), lambda: ask("add", x=_float(3))
    )
    assert one["y"].tolist() == [3, 4] and two["y"].tolist() == [5]
    assert ask.sizes == [("add", [(3,)])]


def test_a_full_batch_does_not_wait(run):
    ask = run(max_batch_size=2, batch_timeout_micros=10**12)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda x: ask("add", x=_float(x)), range(4))
        assert [answer["y"].tolist() for answer in answers] == [[2], [3], [4], [5]]
    assert ask.sizes == [("add", [(2,)])] * 2


def test_shapes_signatures_and_versions_never_mix(run, gate):
    ask = run(num_batch_threads=1)
    text = np.array([b""], object)
    pair = {"user": text, "price": _float(1), "history": text.reshape(1, 1)}
    wide = {**pair, "history": np.array([[b"a", b"b"]], object)}
    answers = _together(
        ask,
        gate,
        lambda: ask("serving_default", **pair),
        lambda: ask("serving_default", **wide),
        lambda: ask("serving_default", **wide),
        lambda: ask("add", x=_float(1)),
        lambda: ask("add", version=1, x=_float(1)),
    )
    watch = [answer["watch"].tolist() for answer in answers[:3]]
    assert watch == [[[0]], [[2]], [[2]]]
    assert [answer["y"].tolist() for answer in answers[3:]] == [[3], [2]]
    histories = sorted(s[0] for name, s in ask.sizes if name == "serving_default")
    assert histories == [(1, 1), (2, 2)]
    assert [s for name, s in ask.sizes if name == "add"] == [[(1,)], [(1,)]]


def test_a_request_that_fails_fails_alone(run, gate):
    ask = run(num_batch_threads=1)
    good, bad = _together(
        ask,
        gate,
        lambda: ask("positive", x=_float(1)),
        lambda: ask("positive", x=_float(-1)),
    )
    assert good["y"].tolist() == [1]
    assert isinstance(bad, ServingError) and "must be positive" in bad.message


def test_batches_are_padded_to_the_allowed_sizes(run):
    ask = run(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert ask("add", x=_float(1, 2, 3))["y"].tolist() == [3, 4, 5]
    assert ask("add", x=_float(*range(5)))["y"].tolist() == [2, 3, 4, 5, 6]
    assert ask("add", x=_float())["y"].tolist() == []
    assert [shapes for _, shapes in ask.sizes] == [[(4,)], [(8,)], [(0,)]]


def test_large_requests_can_be_split(run):
    ask = run(max_batch_size=10, max_execution_batch_size=4)
    assert ask("add", x=_float(*range(10)))["y"].tolist() == list(range(2, 12))
    assert [shapes for _, shapes in ask.sizes] == [[(4,)], [(4,)], [(2,)]]


@pytest.mark.parametrize(
    "signature, inputs, message",
    [
        ("add", {"x": np.zeros(5, np.float32)}, "Task size 5 is larger than maximum"),
        ("add", {"x": np.float32(1).reshape(())}, "must have at least one dimension"),
        (
            "serving_default",
            {
                "user": np.array([b"u"], object),
                "price": _float(1, 2),
                "history": np.full((2, 2), b"", object),
            },
            "must have equal 0th-dimension size",
        ),
        ("total", {"x": _float(1)}, "Batched output tensor has 0 dimensions"),
        ("slow", {"steps": np.array([1, 1], np.int32)}, "0th dimension does not equal"),
    ],
)
def test_what_cannot_be_batched_is_refused_as_in_tf_serving(
    run, signature, inputs, message
):
    ask = run(max_batch_size=4)
    with pytest.raises(ServingError, match=message) as caught:
        ask(signature, **inputs)
    assert caught.value.http_status == 400


def test_a_full_queue_is_503(run, gate):
    ask = run(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1)
    with _held(ask, gate) as pool:
        first = pool.submit(ask, "add", x=_float(1))
        until(ask.waiting, "it waits")
        refused = _result(lambda: ask("add", x=_float(1)))
    assert isinstance(refused, ServingError) and refused.http_status == 503
    assert "queue to which this task was submitted is full" in refused.message
    assert first.result()["y"].tolist() == [3]


def test_a_batching_server_answers_as_one_without(base_path):
    batching = BatchingConfig(batch_timeout_micros=2000, allowed_batch_sizes=(8, 1000))
    with Server([ModelConfig("toy", base_path)], batching=batching) as server:

        def ask(value):
            body = {"signature_name": "add", "instances": [value] * (value % 3 + 1)}
            url = server.url + "/v1/models/toy:predict"
            return requests.post(url, json.dumps(body), timeout=240).json()

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(200)))
        assert answers == [{"predictions": [x + 2.0] * (x % 3 + 1)} for x in range(200)]
        page = requests.get(server.url + "/monitoring/prometheus/metrics", timeout=240)
        assert ":tensorflow:serving:batching_session:queuing_latency" in page.text


def test_the_file_of_tf_serving_is_read(tmp_path):
    assert read_batching_file(None) == BatchingConfig()
    file = tmp_path / "batching.config"
    file.write_text(
        """max_batch_size { value: 128 }
        batch_timeout_micros { value: 500 }
        max_enqueued_batches { value: 100 }
        num_batch_threads { value: 4 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: 32 allowed_batch_sizes: 128"""
    )
    assert read_batching_file(file) == BatchingConfig(
        128, 500, 100, 4, (32, 128), thread_pool_name="pool"
    )
    for text, message in (
        ("max_batch_size: 5", "no BatchingParameters in text format"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1"),
        ("allowed_batch_sizes: 5", "Last entry in allowed_batch_sizes must match"),
        (
            "max_batch_size { value: 9 } allowed_batch_sizes: [9, 3, 9]",
            "must rise from 1 or more",
        ),
        ("pad_variable_length_inputs: true", "is not supported"),
        (
            "enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 2000 }",
            "max_execution_batch_size must be 1 to 1000",
        ),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_batching_file(file)
