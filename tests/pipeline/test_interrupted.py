"""Ctrl-C: one line that says how to go on, status 130, and the same command goes on."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import raw_config
from paths import ROOT

from pipeline.__main__ import main

# Interrupts itself when the first rows of a stage are done, in the midst of its work.
_INTERRUPTED = """
import os, signal, sys
from pipeline.__main__ import main
stage, is_done = sys.argv.pop(1), False
def watch(event, arguments):
    global is_done
    if event == "open" and not is_done:
        path = str(arguments[0])
        if f"/{stage}/" in path and "/.progress-" in path:
            is_done = True
            os.kill(os.getpid(), signal.SIGINT)
# A shell that has started the tests in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(watch)
sys.exit(main(sys.argv[1:]))
"""
_COUNTED = (
    "ExampleGen",
    "StatisticsGen",
    "Transform",
    "Trainer",
    "Evaluator",
    "InfraValidator",
)


@pytest.fixture
def config(tmp_path):
    random = np.random.default_rng(0)
    rows = [f"u{random.integers(50)},{i % 7},{int(i % 7 > 3)}" for i in range(2000)]
    (tmp_path / "logs.csv").write_text("\n".join(["user,hour,click", *rows]))
    raw = raw_config(
        {"logs": [str(tmp_path / "logs.csv")]},
        features=["user", {"name": "hour", "kind": "numeric"}],
        workspace=str(tmp_path / "work"),
        model={"architecture": "shared_bottom"},
        train={"epochs": 1, "batch_size": 256},
        push={"destination": str(tmp_path / "served")},
    )
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(raw))
    return path


def _interrupt(stage, config):
    """What a run says that is interrupted in a stage; it leaves no process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, stage, "run", str(config)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # which ends with the last process that has it
        text=True,
        start_new_session=True,
    )
    _, said = process.communicate()
    assert process.returncode == 130, said
    return said


@pytest.mark.slow  # a process that imports all; what it says is tried below
def test_a_job_of_beam_is_interrupted_in_one_line(config, tmp_path):
    said = _interrupt("ExampleGen", config)
    assert said == "\ninterrupted; the same command goes on from here\n"
    assert not list((tmp_path / "work").rglob(".progress-*"))


@pytest.mark.slow
def test_every_stage_is_interrupted_in_one_line_and_goes_on(config, tmp_path):
    for stage in _COUNTED:
        said = _interrupt(stage, config)
        assert said == "\ninterrupted; the same command goes on from here\n", stage
    assert main(["run", str(config)]) in (0, 3)  # few rows: it may be refused


@pytest.mark.parametrize(
    ("command", "interrupted", "expected"),
    [
        ("run", "pipeline.run.run", "the same command goes on from here"),
        ("demo", "pipeline.demo.demo", "the same command goes on from here"),
        ("sweep", "pipeline.cli.sweep.sweep", "the same command goes on from here"),
        ("check", "pipeline.check.check", "run it again"),
        ("init", "pipeline.init.tables.sample_joined", "run it again"),
        (
            "predict",
            "pipeline.components.bulk_inferrer.component.bulk_inferrer",
            "run it again",
        ),
        ("compare", "pipeline.cli.compare.compare", "run it again"),
    ],
)
def test_every_command_says_how_to_go_on(
    command, interrupted, expected, config, capsys, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, interrupt)
    more = {
        "init": ["--output", str(config.with_name("new.yaml"))],
        "predict": ["--input", "rows", "--output", "scores"],
        "compare": ["a", "b"],
    }
    assert main([command, str(config), *more.get(command, [])]) == 130
    assert capsys.readouterr().err == f"\ninterrupted; {expected}\n"
