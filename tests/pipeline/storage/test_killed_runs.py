"""A run on a workspace in S3, killed in each stage: nothing half is ever taken."""

import json
import os
import signal
import subprocess
import sys

import object_store
import pytest
from paths import ROOT

from pipeline.storage import mirror

server, s3 = object_store.server, object_store.s3


@pytest.mark.slow
def test_a_run_killed_in_each_stage_ends_as_one_on_disk(s3, tmp_path):
    script = ROOT / "tests" / "pipeline" / "storage" / "killed_runs.py"
    workspace = "s3://bucket/feed"
    tests = str(ROOT / "tests")
    subprocess.run(
        [sys.executable, script, tmp_path, workspace, tmp_path / "disk-workspace"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tests}:{ROOT}"},
        check=True,
    )
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["disk"] == answer["last"] == 0
    components = [*dict.fromkeys(killed["component"] for killed in answer["killed"])]
    for killed in answer["killed"]:
        at = killed["component"], killed["where"]
        assert killed["ended"] == -signal.SIGKILL, at
        assert killed["read"] == 0, at
        before = components[: components.index(at[0])]
        assert {name.split("/")[0] for name in killed["names"]} == {*before}, at
        lines = [line for line in killed["lines"] if line[0].isupper()]
        assert [line.split()[0] for line in lines] == before, at
        # But for the stage that was killed before it could be recorded.
        cached = [line for line in lines if "cached" in line]
        assert lines[: len(cached)] == cached, at
        assert len(lines) - len(cached) == (before != [] and at[1] == "writing"), at
    metrics = [
        json.loads((tmp_path / f"{name}.metrics").read_text())["results"]
        for name in ("disk", "last")
    ]
    assert metrics[0] == metrics[1]
    _check_store(s3)


def _check_store(s3):
    """No marker lacks a file that it lists, and nothing lies there without one."""
    found = {}
    for key in object_store.keys(s3, "feed/"):
        parts = key.split("/")
        if len(parts) > 4 and parts[1] != "served":
            found.setdefault("/".join(parts[:4]), set()).add("/".join(parts[4:]))
    assert found
    for folder, names in found.items():
        body = s3.get_object(Bucket="bucket", Key=f"{folder}/{mirror.MANIFEST}")["Body"]
        assert names == {*json.loads(body.read()), mirror.MANIFEST}
    assert "feed/served/1/saved_model.pb" in object_store.keys(s3)
