"""The whole of `preprocess` in processes of their own: killed, and on several engines.

What is compared are the bytes of every file of every artifact.
"""

import csv
import gzip
import hashlib
import json
import signal
import subprocess
import sys

import deaths
import pytest
from conftest import raw_config
from engines import ENGINES, cluster, engine
from paths import ROOT
from until import until

from pipeline.__main__ import main

ROWS = 24_000
FILES = 6
STAGES = ("ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A config over several CSV files, whose rows have missing and bad values."""
    folder = tmp_path_factory.mktemp("logs")
    for number in range(FILES):
        with (folder / f"{number}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["user", "item", "age", "seen", "click", "like"])
            for i in range(number, ROWS, FILES):
                seen = "|".join(f"i{j % 50}" for j in range(i % 5))
                age = "oops" if i % 4000 == 0 else "" if i % 9 == 0 else i % 80
                click = int(i % 3 == 0)
                out.writerow([f"u{i % 997}", f"i{i % 50}", age, seen, click, i % 2])
    path = folder / "config.yaml"
    raw = raw_config(
        {"logs": [str(folder / "*.csv")]},
        features=[
            "user",
            "item",
            {"name": "age", "kind": "numeric"},
            {"name": "seen", "kind": "sequence", "of": "item", "max_length": 3},
        ],
        domain="item",
        tasks=["click", {"name": "like", "space": "click"}],
    )
    path.write_text(json.dumps(raw))
    return path


def hashes(workspace):
    """{artifact and file: hash} of the newest execution of each component."""
    found = {}
    for stage in STAGES:
        for artifact in sorted((workspace / stage).iterdir()):
            done = [
                p for p in artifact.iterdir() if p.suffix not in (".tmp", ".failed")
            ]
            newest = max(done, key=lambda path: int(path.name))
            for file in sorted(newest.rglob("*")):
                # The graph's file lists its nodes in an order of TensorFlow's own.
                if file.is_file() and "transform_fn" not in file.parts:
                    name = f"{stage}/{artifact.name}/{file.relative_to(newest)}"
                    found[name] = hashlib.md5(file.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("undisturbed")
    assert main(["preprocess", str(config), "--output", str(workspace)]) == 0
    return hashes(workspace)


def command(config, workspace, *flags):
    return [
        *(sys.executable, "-m", "pipeline", "preprocess", str(config)),
        *("--output", str(workspace), *flags),
    ]


def test_counts_add_up(config, tmp_path, capsys):
    assert main(["preprocess", str(config), "--output", str(tmp_path)]) == 0
    dead = len(range(0, ROWS, 4000))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"rows in {ROWS:,} = rows out {ROWS - dead:,} + dead {dead}")
    assert last.endswith("rows/s")
    (summary,) = tmp_path.glob("Transform/transformed_examples/*/summary.json")
    counts = json.loads(summary.read_text())
    counts["rows"]["train"] += 1
    summary.write_text(json.dumps(counts))
    assert main(["preprocess", str(config), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{ROWS:,}" in error and f"{ROWS - dead + 1:,}" in error


def test_a_path_may_have_any_character(config, tmp_path, capsys):
    folder = tmp_path / "a, b: {c} # 'd'"
    folder.mkdir()
    text = (config.parent / "0.csv").read_text().replace("oops", "")
    (folder / "log, 1.csv").write_text(text)
    into = ["--output", str(folder / "[work], 2: x")]
    assert main(["preprocess", str(config), "--input", f"{folder}/*1.csv", *into]) == 0
    assert f"rows in {ROWS // FILES:,} = rows out" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "ExampleGen/examples/*/Split-train/*.parquet",
        "StatisticsGen/statistics/*/vocabulary/*/*.parquet",
        "Transform/transformed_examples/*/Split-*/*.tfrecord.gz",
    ],
)
def test_a_killed_job_leaves_no_half_shard(config, undisturbed, tmp_path, first):
    """Killed as soon as there is a first shard, it gives the same bytes when rerun."""
    job = subprocess.Popen(command(config, tmp_path), cwd=ROOT)
    until(lambda: any(tmp_path.glob(first)) or job.poll() is not None, "a first shard")
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL  # and has not come to its end before
    stage = first.partition("/")[0]
    for artifact in (tmp_path / stage).iterdir():
        assert all(path.suffix == ".tmp" for path in artifact.iterdir())
    for shard in tmp_path.glob("Transform/*/*/*/*.tfrecord.gz"):
        with gzip.open(shard) as file:
            assert file.read()  # raises if the file was cut off
    done = subprocess.run(command(config, tmp_path), cwd=ROOT, check=False)
    assert done.returncode == 0
    assert hashes(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_writes_what_the_local_runner_does(
    config, undisturbed, tmp_path, name
):
    with engine(name, tmp_path) as beam:
        done = subprocess.run(
            command(config, tmp_path / "out", f"--runner={beam.runner}", *beam.flags),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "Prism" not in done.stderr
    assert hashes(tmp_path / "out") == undisturbed


# Those with a job, which workers do.
_JOBS = {"ExampleGen", "StatisticsGen", "Transform"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "flink", "spark"])
def test_a_worker_may_die_in_each_stage(
    config, undisturbed, tmp_path, monkeypatch, name
):
    folder = deaths.prepare(tmp_path, _JOBS)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with cluster(name, tmp_path, workers=4 if name == "dask" else 2) as found:
            patch.undo()  # the command itself lives
            line = command(config, tmp_path / "out", f"--runner={found.runner}")
            done = subprocess.run([*line, *found.flags], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert deaths.died(folder) == _JOBS
    assert hashes(tmp_path / "out") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "flink", "spark"])
def test_a_lost_engine_is_said_and_a_rerun_goes_on(
    config, undisturbed, tmp_path, monkeypatch, name
):
    """What jobs are handed to is killed in the last of them."""
    folder = deaths.prepare(tmp_path, ["Transform"])
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with cluster(name, tmp_path) as found:
            patch.undo()
            (folder / "victim").write_text(str(found.head.pid))
            line = command(config, tmp_path / "out", f"--runner={found.runner}")
            lost = subprocess.run(
                [*line, *found.flags],
                cwd=ROOT,
                check=False,
                stderr=subprocess.PIPE,
                text=True,
            )
    assert deaths.died(folder) == {"Transform"}
    assert lost.returncode == 2
    lines = [line for line in lost.stderr.splitlines() if " rows, " not in line]
    error, kept = lines
    assert kept.startswith("(what it wrote so far")
    assert error.startswith(f"error: Transform: beam.runner: {found.runner} could not")
    assert error.endswith("The same command goes on after the last complete stage")
    # Here the same stages without an engine: their results are the same.
    done = subprocess.run(
        command(config, tmp_path / "out"),
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.count("cached") == 4
    assert hashes(tmp_path / "out") == undisturbed
