"""Content decides what runs again: not a file's time, nor where a workspace stands."""

import os
import shutil

import pytest
from conftest import make_config

from pipeline.run import run
from pipeline.stages import stages
from pipeline.workspace import content


def test_a_file_that_was_only_touched_is_the_same(tmp_path, monkeypatch):
    log = tmp_path / "log.csv"
    log.write_text("a\n1\n")
    before = content.of_files([str(log)], tmp_path)
    os.utime(log, (1, 1))
    assert content.of_files([str(log)], tmp_path) == before
    with monkeypatch.context() as patch:  # what has the same time is not read again
        patch.setattr(content, "_checksum", None)
        assert content.of_files([str(log)], tmp_path) == before
    log.write_text("a\n2\n")  # as long
    assert content.of_files([str(log)], tmp_path) != before


def test_a_workspace_that_is_not_there_remembers_nothing(tmp_path):
    (tmp_path / "log.csv").write_text("a\n")
    found = content.of_files([f"{tmp_path}/*.csv"], tmp_path / "none")
    assert len(found) == 1 and not (tmp_path / "none").exists()


@pytest.mark.parametrize("relative", [False, True])
def test_what_has_run_is_found_where_the_workspace_was_moved_to(
    relative, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = [f"u{i},{i % 2}" for i in range(100)]
    (tmp_path / "log.csv").write_text("\n".join(["user,click", *rows]) + "\n")

    def ran(folder):
        workspace = folder if relative else str(tmp_path / folder)
        lines = []
        config = make_config({"logs": ["log.csv"]}, workspace=workspace)
        run(config, until="SchemaGen", report=lines.append)
        stages_ = [line for line in lines if line.split()[0] in known]
        return [line.split()[0] for line in stages_ if "cached" not in line]

    known = [stage.component for stage in stages(make_config())]
    assert ran("one") == ["ExampleGen", "StatisticsGen", "SchemaGen"]
    os.utime(tmp_path / "log.csv", (1, 1))
    assert ran("one") == []
    shutil.move("one", "two")
    assert ran("two") == []
