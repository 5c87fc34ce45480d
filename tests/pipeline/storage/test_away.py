"""Workers that see nothing of the mirror of who has started their job."""

import json
import os
import pickle
import subprocess
from pathlib import Path

import object_store
import pytest
import small_feed
from engines import cluster
from paths import ROOT

from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.beam.work import Work
from pipeline.run import run
from pipeline.storage import away, mirror

server, s3, machine = object_store.server, object_store.s3, object_store.machine
URL = "s3://bucket/feed"


@pytest.fixture
def started(machine, monkeypatch):
    """A job's folder on one machine, and what makes this process a worker of it."""
    monkeypatch.setattr(away, "_away", [])
    feed = machine("main")
    folder = feed / "Transform/examples/3-abc.tmp/.results-x"
    folder.mkdir(parents=True)

    def join():
        job = away.started()._replace(folder=folder.with_name(".on-another-disk"))
        machine("other")
        # After others, one of them of the same stage.
        away.join(job._replace(url=f"{URL}/before"))
        away.join(job)
        away.join(job._replace(folder=feed.with_name("else") / ".x", url=f"{URL}/else"))

    def leave():
        machine("main")
        away._away.clear()

    return feed, folder, join, leave


def test_what_a_worker_writes_arrives_when_the_job_has_ended(started, s3):
    feed, folder, join, leave = started
    paths = [folder / "a.results", feed / "Transform/examples/3-abc.tmp/Split-a/data"]
    with away.starting(folder):
        join()
        for path in paths:
            with atomic_write(path) as part:
                part.write_text(f"of {path.name}")
            assert not path.exists()
        with pytest.raises(ZeroDivisionError), atomic_write(folder / "half") as part:
            part.write_text("half")
            raise ZeroDivisionError
        leave()
    assert [path.read_text() for path in paths] == ["of a.results", "of data"]
    assert mirror.names_in(folder) == ["a.results"]
    assert object_store.keys(s3) == []
    assert not any((mirror.root().with_name("mirror-other") / ".parts").iterdir())


def test_a_worker_reads_what_is_given_with_the_job_and_whole_artifacts(started, s3):
    feed, folder, join, leave = started
    artifact = feed / "ExampleGen/examples/1-a"
    made = artifact.with_suffix(".tmp")
    (made / "Split-train").mkdir(parents=True)
    for name in ("data", "more"):
        (made / "Split-train" / name).write_text("rows")
    mirror.push(made, artifact)
    graph, table = feed / "Transform/graph/3-abc.tmp/fn", folder.with_name("t.arrow")
    graph.mkdir(parents=True)
    (graph / "saved_model.pb").write_text("graph")
    table.write_text("table")
    with away.starting(folder, [graph, table]):
        join()
        found = [
            away.fetch(path)
            for path in (graph, table, artifact / "Split-train/data", artifact)
        ]
        assert all(path.is_relative_to(mirror.root()) for path in found)
        assert (found[0] / "saved_model.pb").read_text() == "graph"
        assert [path.read_text() for path in found[1:3]] == ["table", "rows"]
        assert (found[3] / "Split-train/more").read_text() == "rows"
        assert away.fetch(graph) == found[0]  # as it is there now
        assert not away.fetch(folder / "not there").exists()
        assert away.fetch(Path("/elsewhere")) == Path("/elsewhere")
        leave()
    assert [key.split("/")[1] for key in object_store.keys(s3)] == ["ExampleGen"] * 3


class _Writes(Work):
    pass


def test_who_sees_the_folder_of_the_job_copies_nothing(started, s3):
    feed, folder, _, _ = started
    with away.starting(folder):
        pickle.loads(pickle.dumps(_Writes()))
        path = feed / "new/data"
        with atomic_write(path) as part:
            part.write_text("here")
        assert path.read_text() == "here" and away.fetch(path) == path
    assert object_store.keys(s3) == []


def test_a_worker_knows_the_job_from_what_it_does(started):
    _, folder, _, leave = started
    with away.starting(folder):
        handed_on = pickle.loads(pickle.dumps(_Writes()))
    work = pickle.dumps(handed_on)
    folder.rmdir()
    pickle.loads(work)
    assert [job.folder for job in away._away] == [folder]
    leave()


def test_all_work_may_be_done_anywhere():
    files = (ROOT / "pipeline").rglob("*.py")
    found = [file.name for file in files if "(beam.DoFn)" in file.read_text()]
    assert found == ["work.py"]


def _hiding(folder):
    """A command that starts another one, to which a folder is empty."""
    hide = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", hide, str(folder)]
    if os.geteuid() or subprocess.run([*before, "true"], check=False).returncode:
        pytest.skip("needs to be root, to hide a folder from other processes")
    return before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "flink", "spark"])
def test_a_cluster_without_a_common_folder_does_all_stages(s3, tmp_path, name):
    def metrics(workspace, *overrides):
        values = small_feed.SMALL | {
            "data.options": "{impressions: 6000, seed: 7}",
            "train.epochs": 1,
            "train.batch_size": 256,
            "train.deterministic": "true",
            "infra.max_latency_ms": "null",
            "evaluate.default_rules": "[]",
            "workspace": workspace,
            "push.destination": f"{workspace}/served",
        }
        overrides = [*overrides, *(f"{key}={value}" for key, value in values.items())]
        config = configs.load(small_feed.FEED, overrides)
        found = run(config, report=str)["evaluation"]
        return json.loads((found / layout.METRICS).read_text())["results"]

    wanted = metrics(str(tmp_path / "disk"))
    mirror.root().mkdir()
    with cluster(name, tmp_path, before=_hiding(mirror.root())) as engine:
        flags = json.dumps(engine.flags)
        found = metrics(URL, f"beam.runner={engine.runner}", f"beam.flags={flags}")
    assert found == wanted
    assert not [key for key in object_store.keys(s3) if "/.results-" in key]
