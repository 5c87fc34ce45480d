"""What a model was made from, out of the metadata."""

from pipeline.report import lineage
from pipeline.workspace.metadata import Artifact, Metadata


def _execute(store, workspace, component, inputs):
    """Records an execution with one artifact; returns the artifact."""
    id_ = store.begin("run", component, "fingerprint")
    path = workspace / component / "artifact" / str(id_)
    (artifact,) = store.complete(id_, {"rows": id_}, inputs, {"artifact": path})
    return artifact


def test_a_model_comes_from_all_before_it_but_not_from_an_earlier_run(tmp_path):
    store = Metadata(tmp_path / "metadata.sqlite")
    old = _execute(store, tmp_path, "StatisticsGen", [])
    examples = _execute(store, tmp_path, "ExampleGen", [])
    statistics = _execute(store, tmp_path, "StatisticsGen", [examples])
    previous = Artifact(old.id, "previous_statistics", old.path)
    anomalies = _execute(store, tmp_path, "ExampleValidator", [statistics, previous])
    _execute(store, tmp_path, "Pusher", [anomalies])  # is not what it is made from
    found = lineage.of(tmp_path, [anomalies.path, tmp_path / "elsewhere"])
    assert [(step["component"], step["inputs"]) for step in found] == [
        ("ExampleGen", []),
        ("StatisticsGen", [2]),
        ("ExampleValidator", [3]),
    ]
    assert found[0]["outputs"] == ["ExampleGen/artifact/2"] and found[0]["rows"] == 2


def test_without_metadata_nothing_is_known(tmp_path):
    assert lineage.of(tmp_path, [tmp_path / "a"]) == []
    assert list(tmp_path.iterdir()) == []
