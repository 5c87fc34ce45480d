"""Values that wait on disk for their readers."""

import pathlib
import types

import pytest
from conftest import make_config

from pipeline.beam import spill
from pipeline.beam.results import Workers
from pipeline.components.example_gen.component import example_gen
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError


def test_values_are_read_back_from_the_disk(tmp_path):
    values = [b"first", b"", b"third" * 1000]
    with spill.spilling(tmp_path) as keep:
        kept = [keep(value) for value in values]
    assert all(isinstance(place, spill.Place) for place in kept)
    assert [spill.read(place) for place in reversed(kept)] == values[::-1]


def test_a_cluster_has_the_values_themselves(tmp_path):
    assert spill.folder(Workers(Beam(), tmp_path)) == tmp_path
    folder = spill.folder(Workers(Beam(runner="FlinkRunner"), tmp_path))
    with spill.spilling(folder) as keep:
        assert spill.read(keep(b"value")) == b"value"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    name = types.SimpleNamespace(hex="full")
    monkeypatch.setattr(spill, "uuid", types.SimpleNamespace(uuid4=lambda: name))
    spilling = spill.spilling

    def on_a_full_disk(folder: pathlib.Path):
        (folder / "full.spill").symlink_to("/dev/full")
        return spilling(folder)

    monkeypatch.setattr(spill, "spilling", on_a_full_disk)
    (tmp_path / "log.csv").write_text("user,time,click\na,1,1\n")
    history = {"name": "seen", "key": "user", "column": "user"}
    data = {"logs": [f"{tmp_path}/log.csv"], "time": "time", "history": [history]}
    (tmp_path / "out").mkdir()
    with pytest.raises(PipelineError, match="No space left on device.*Make room"):
        example_gen(make_config(data), {}, {"examples": tmp_path / "out"})
