"""The examples for orchestrators have all stages, and Airflow runs them."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest
import small_feed
from paths import ROOT

from pipeline.__main__ import main
from pipeline.stages import stages

EXAMPLES = ("airflow_dag.py", "kubeflow_pipeline.py")
AIRFLOW = os.environ.get("AIRFLOW") or shutil.which("airflow")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_the_stages_of_logs_of_ones_own(name, tmp_path):
    tree = ast.parse((ROOT / "examples" / name).read_text())
    (found,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "STAGES"
    )
    config = small_feed.config(tmp_path)
    all_ = [stage.component for stage in stages(config)]
    assert config.data.source and all_ == ["LogSource", *found]


@pytest.mark.slow
@pytest.mark.skipif(not AIRFLOW, reason="needs Airflow 3, on PATH or named by AIRFLOW")
@pytest.mark.parametrize("least, state", [(0.0, "success"), (1.0, "skipped")])
def test_airflow_runs_each_stage(tmp_path, least, state):
    """A model that is refused is skipped, not failed."""
    config = small_feed.config(
        tmp_path / "out",
        **{
            "data.options": "{impressions: 5000, seed: 7}",
            "evaluate.minimum": f"{{click: {least}}}",
            "evaluate.default_rules": "[]",  # of an epoch on so few rows
            "train.epochs": 1,
        },
    )
    path = tmp_path / "feed.json"
    path.write_text(config.model_dump_json())
    assert main(["run", str(path), "--only", "LogSource"]) == 0
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "examples" / EXAMPLES[0], dags)
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "PYTHONPATH": str(ROOT),
        "TFMTL_CONFIG": str(path),
        "TFMTL_PYTHON": sys.executable,
    }

    def airflow(*line):
        done = subprocess.run(
            [AIRFLOW, *line], env=env, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    airflow("db", "migrate")
    airflow("dags", "test", "tfmtl", "2026-01-02T00:00:00+00:00")

    def table(*line):
        told = airflow(*line, "--output", "json")
        return json.loads(told.splitlines()[-1])  # warnings may stand above

    (run,) = table("dags", "list-runs", "tfmtl")
    found = table("tasks", "states-for-dag-run", "tfmtl", run["run_id"])
    states = {task["task_id"]: task["state"] for task in found}
    assert states.pop("Pusher") == state
    assert len(states) == 9 and set(states.values()) == {"success"}
    assert (tmp_path / "out" / "served" / "1").is_dir() == (state == "success")
