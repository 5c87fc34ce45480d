"""The first stages and the Pusher on a store; test_killed_runs.py has all of them."""

import json
from pathlib import Path

import object_store
import pytest
from conftest import make_config, raw_config

from pipeline.__main__ import main
from pipeline.artifacts import blessing, layout, pushed, saved_model
from pipeline.components.pusher import pusher
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run
from pipeline.storage import mirror, remote

server, s3 = object_store.server, object_store.s3
URL = "s3://bucket/feed"
STAGES = ["ExampleGen", "StatisticsGen", "SchemaGen"]


@pytest.fixture
def raw(s3, tmp_path):
    rows = [f"u{i % 50},{i % 7 > 3:d}" for i in range(300)]
    (tmp_path / "logs.csv").write_text("\n".join(["user,click", *rows]))
    return raw_config({"logs": [str(tmp_path / "logs.csv")]}, workspace=URL)


def _run(raw):
    lines = []
    artifacts = run(Config.model_validate(raw), until="schema_gen", report=lines.append)
    stages = [line for line in lines if line.split()[0] in STAGES]
    assert [line.split()[0] for line in stages] == STAGES
    assert all(line.split()[-1].startswith(URL) for line in stages)
    return artifacts, [line.split()[0] for line in stages if " cached " in line]


def test_a_run_gives_what_it_gives_on_a_disk(raw, tmp_path):
    artifacts, cached = _run(raw)
    assert cached == []
    raw = {**raw, "workspace": str(tmp_path / "disk")}
    on_disk = run(Config.model_validate(raw), until="schema_gen", report=str)
    for name in ("statistics", "schema"):
        names = mirror.names_in(on_disk[name])
        assert {*mirror.names_in(artifacts[name])} == {*names, mirror.MANIFEST}
        for file in names:
            wanted = (on_disk[name] / file).read_bytes()
            assert (artifacts[name] / file).read_bytes() == wanted, file


def test_another_machine_finds_all_in_the_cache(raw, tmp_path, monkeypatch):
    before, _ = _run(raw)
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "another"))
    artifacts, cached = _run(raw)
    assert cached == STAGES
    for name, path in artifacts.items():
        assert path.is_relative_to(tmp_path / "another")
        for file in mirror.names_in(path):
            assert (path / file).read_bytes() == (before[name] / file).read_bytes()


def test_a_store_that_fails_is_gone_on_from(raw, s3, monkeypatch):
    write = remote.write

    def fails(url, content):
        if "/StatisticsGen/" in url:
            raise PipelineError(f"{url}: the store cannot be used")
        write(url, content)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "write", fails)
        message = "StatisticsGen: s3://bucket/feed/StatisticsGen/statistics/"
        with pytest.raises(PipelineError, match=message):
            _run(raw)
    half = [key for key in object_store.keys(s3) if "/StatisticsGen/" in key]
    assert half and not any(key.endswith(mirror.MANIFEST) for key in half)
    artifacts, cached = _run(raw)
    assert cached == ["ExampleGen"]
    at = mirror.url(artifacts["statistics"]).removeprefix("s3://bucket/")
    found = [key for key in object_store.keys(s3) if "/StatisticsGen/" in key]
    assert [key for key in found if not key.startswith(at)] == half  # till gc comes


def test_the_commands_take_a_store(raw, s3, tmp_path, capsys, monkeypatch):
    (tmp_path / "own.yaml").write_text(json.dumps(raw))
    artifacts, _ = _run(raw)
    schema = mirror.shown(artifacts["schema"])
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "another"))

    def says(*arguments):
        assert main([arguments[0], str(tmp_path / "own.yaml"), *arguments[1:]]) == 0
        return capsys.readouterr().out

    out = says("runs", "--executions")
    assert all(stage in out for stage in STAGES)
    out = says("lineage", schema)
    assert schema in out and f"{URL}/ExampleGen/examples/1-" in out
    assert "(deleted)" not in out
    found = json.loads(says("lineage", schema, "--json"))
    assert schema in json.dumps(found)
    assert says("gc", "--keep", "1", "--delete") == "nothing to delete\n"
    remote.delete_folder(schema, mirror.MANIFEST)
    assert "(deleted)" in says("lineage", schema)
    assert _run(raw)[1] == STAGES[:2]


def _push(tmp_path, graph, **options):
    model = tmp_path / graph / layout.SERVING_MODEL
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_text(graph)
    (model / "variables" / "variables.index").write_text(graph)
    inputs = {"model": model.parent, "evaluation": tmp_path}
    for name in ("blessing", "infra_blessing"):
        inputs[name] = tmp_path / name
        inputs[name].mkdir(exist_ok=True)
        blessing.write(inputs[name], ())
    (tmp_path / "pushed").mkdir(exist_ok=True)
    config = make_config(push={"destination": "s3://bucket/served", **options})
    return pusher(config, inputs, {"pushed_model": tmp_path / "pushed"})


def test_models_are_pushed_into_a_store(s3, tmp_path, monkeypatch):
    for number, graph in enumerate(("one", "two", "three"), 1):
        monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / f"mirror-{number}"))
        summary = _push(tmp_path, graph, keep=2)
        place = f"s3://bucket/served/{number}"
        assert summary["notes"] == [f"version {number} is published at {place}"]
        record = json.loads((tmp_path / "pushed" / layout.PUSHED).read_text())
        assert record == {"version": number, "path": place}
        assert pushed.read(tmp_path / "pushed") == Path(mirror.of(place))
    graphs = [key for key in object_store.keys(s3) if key.endswith("saved_model.pb")]
    assert graphs == ["served/2/saved_model.pb", "served/3/saved_model.pb"]
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "reader"))
    served = saved_model.of_pipeline(mirror.of("s3://bucket/served"))
    assert (served / "saved_model.pb").read_text() == "three"
