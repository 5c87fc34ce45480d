"""What Beam's workers hand back: every result once, and errors of all of them."""

import apache_beam as beam
import grpc
import pytest

from pipeline.beam import results
from pipeline.beam.results import Workers
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError


def _double(index, item):
    if item < 0:
        raise PipelineError(f"item {index} is {item}")
    return index, item * 2


def test_results_are_in_the_order_of_the_items(tmp_path):
    found = results.parallel_map(Workers(Beam(), tmp_path), _double, [5, 3, 4])
    assert found == [(0, 10), (1, 6), (2, 8)]
    assert not list(tmp_path.iterdir())


def test_no_items_give_no_results(tmp_path):
    assert results.parallel_map(Workers(Beam(), tmp_path), _double, []) == []


def test_the_errors_of_all_items_are_told(tmp_path):
    with pytest.raises(PipelineError) as error:
        results.parallel_map(Workers(Beam(), tmp_path), _double, [5, -3, -4])
    assert str(error.value) == "item 1 is -3\nitem 2 is -4"


def test_an_interrupted_worker_interrupts(tmp_path):
    def interrupt(index, item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.parallel_map(Workers(Beam(), tmp_path), interrupt, [1])
    assert not list(tmp_path.iterdir())


def test_a_transform_gives_its_results_by_key(tmp_path):
    counted = beam.combiners.Count.PerElement()
    assert results.run(Workers(Beam(), tmp_path), [*"abb"], counted) == {"a": 1, "b": 2}


def test_a_bundle_that_was_tried_twice_counts_once(tmp_path):
    for _ in range(2):
        results.write(tmp_path, [(("b", 1), 7), (("a", 2), 8)])
    (tmp_path / ".half").write_bytes(b"of a worker that died")
    assert list(results.read(tmp_path).items()) == [(("a", 2), 8), (("b", 1), 7)]


def test_results_that_are_lost_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "read", lambda folder: {0: None})
    with pytest.raises(PipelineError, match="1 of 2 results"):
        results.parallel_map(Workers(Beam(), tmp_path), _double, [1, 2])


@pytest.mark.parametrize(
    "runner, flags, said",
    [
        ("SparkRunner", ["--spark_job_server_jar=none.jar"], "none.jar"),
        (
            "PortableRunner",
            [
                "--job_endpoint=localhost:1",
                "--job_server_timeout=1",
                "--environment_type=LOOPBACK",
            ],
            "FutureTimeoutError",
        ),
        (
            "DaskRunner",
            ["--dask_client_address=tcp://127.0.0.1:1", "--dask_connection_timeout=1"],
            "OSError",
        ),
    ],
)
def test_an_engine_that_is_not_up_is_said(tmp_path, runner, flags, said):
    workers = Workers(Beam(runner=runner, flags=flags), tmp_path)
    with pytest.raises(PipelineError) as error:
        results.parallel_map(workers, _double, [1])
    assert f"beam.runner: {runner} could not run the job: " in str(error.value)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_lost_connection_is_said(tmp_path, monkeypatch):
    class Lost(grpc.RpcError, grpc.Call):
        code = initial_metadata = trailing_metadata = None
        is_active = time_remaining = cancel = add_callback = None

        def details(self):
            return "Socket closed"

    def lose(section):
        raise Lost("<of\nmany lines\n>")

    monkeypatch.setattr(results, "pipeline", lose)
    with pytest.raises(PipelineError, match="FlinkRunner could not .* Socket closed. "):
        results.parallel_map(
            Workers(Beam(runner="FlinkRunner"), tmp_path), _double, [1]
        )
    with pytest.raises(Lost):  # in this process it would be a fault of ours
        results.parallel_map(Workers(Beam(), tmp_path), _double, [1])
