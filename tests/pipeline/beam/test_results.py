"""What Beam's workers hand back: every result once, and errors of all of them."""

import apache_beam as beam
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
