import object_store
import pytest

from pipeline.artifacts import saved_model
from pipeline.errors import PipelineError
from pipeline.storage import folders, mirror, remote
from serving.release.publish import publish

server, s3, machine = object_store.server, object_store.s3, object_store.machine
URL = "s3://bucket/served"


def _model(tmp_path, text):
    folder = tmp_path / text
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_text(text)
    (folder / "saved_model.pb").write_text(text)
    return folder


def _publish(base, model, keep=2):
    with folders.publishing(base):
        path = publish(model, base, keep=keep)
        folders.publish(path)
    return path


def test_versions_go_up_and_old_ones_leave(machine, s3, tmp_path):
    for number, name in enumerate("abc", 1):
        path = _publish(machine(name), _model(tmp_path, name))
        assert path.name == str(number)
    found = [key for key in object_store.keys(s3) if not key.endswith(".lock")]
    assert found == [
        f"served/{number}/{name}"
        for number in (2, 3)
        for name in ("saved_model.pb", "variables/variables.index")
    ]
    newest = saved_model.served(machine("d"))
    assert newest.name == "3" and (newest / "saved_model.pb").read_text() == "c"
    assert not (newest.parent / "2").exists()  # nobody has asked for it
    assert folders.stands(newest.parent / "2") and not folders.stands(newest / "1")


def test_the_graph_comes_last_and_goes_first(machine, s3, tmp_path, monkeypatch):
    order = []
    upload, delete = remote.upload, remote.delete
    monkeypatch.setattr(
        remote, "upload", lambda *a: (order.append(("up", *a[2])), upload(*a))
    )
    monkeypatch.setattr(
        remote,
        "delete",
        lambda urls: delete([(order.append(("down", u)), u)[1] for u in urls]),
    )
    base = machine("a")
    _publish(base, _model(tmp_path, "one"), keep=1)
    _publish(base, _model(tmp_path, "two"), keep=1)
    order = [(how, name) for how, name in order if ".lock" not in name]
    assert order == [
        ("up", "variables/variables.index"),
        ("up", "saved_model.pb"),
        ("up", "variables/variables.index"),
        ("up", "saved_model.pb"),
        ("down", f"{URL}/1/saved_model.pb"),
        ("down", f"{URL}/1/variables/variables.index"),
    ]


def test_a_version_that_is_half_there_is_none_and_is_replaced(machine, s3, tmp_path):
    _publish(machine("a"), _model(tmp_path, "one"))
    for name in ("variables/variables.index", "variables/left"):
        s3.put_object(Bucket="bucket", Key=f"served/2/{name}", Body=b"half")
    assert saved_model.served(machine("a")).name == "1"
    assert not folders.stands(machine("a") / "2")
    killed = machine("a") / "2"  # what the mirror of the killed one has
    killed.mkdir()
    path = _publish(machine("a"), _model(tmp_path, "two"))
    assert path == killed
    assert [key for key in object_store.keys(s3) if "/2/" in key] == [
        "served/2/saved_model.pb",
        "served/2/variables/variables.index",
    ]


def test_a_version_deleted_in_the_store_leaves_the_mirror(machine, s3, tmp_path):
    base = machine("a")
    _publish(base, _model(tmp_path, "one"))
    _publish(base, _model(tmp_path, "two"))
    remote.delete_folder(f"{URL}/2", "saved_model.pb")
    assert saved_model.served(base).name == "1"
    assert not (base / "2").exists()


def test_one_machine_publishes_at_a_time(machine):
    with folders.publishing(machine("a")):
        with (
            pytest.raises(PipelineError, match="s3://bucket/served is used by"),
            folders.publishing(machine("b")),
        ):
            pass
        machine("a")


@pytest.mark.parametrize("at", ["", "/1"])
def test_a_model_is_found_by_its_place(at, machine, tmp_path):
    _publish(machine("a"), _model(tmp_path, "one"))
    machine("b")
    found = saved_model.find(mirror.place(URL + at))
    assert (found / "saved_model.pb").read_text() == "one"


def test_the_model_of_a_trainer_is_found_by_its_place(machine, tmp_path):
    machine("a")
    made = tmp_path / "made"
    (made / "Format-Serving").mkdir(parents=True)
    (made / "Format-Serving" / "saved_model.pb").write_text("one")
    mirror.push(made, mirror.place("s3://bucket/feed/Trainer/model/3-abc"))
    for number, at in enumerate(("", "/Format-Serving")):
        machine(f"reader-{number}")
        found = saved_model.find(
            mirror.place(f"s3://bucket/feed/Trainer/model/3-abc{at}")
        )
        assert (found / "saved_model.pb").read_text() == "one"


def test_what_is_no_model_is_refused(machine):
    machine("a")
    with pytest.raises(PipelineError, match="a SavedModel is expected"):
        saved_model.find(mirror.place("s3://bucket/nothing"))


def test_days_are_known_to_every_machine(machine):
    from pipeline.days import records

    folder = records.folder(machine("a"), "2024-05-02")
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "metrics.json").write_text("{}")
    records.write(folder, {"day": "2024-05-02", "state": "measured"})
    there = machine("b")
    assert [record["state"] for record in records.read(there)] == ["measured"]
    assert (records.folder(there, "2024-05-02") / "evaluation").is_dir()
    records.write(
        records.folder(there, "2024-05-02"), {"day": "2024-05-02", "state": "complete"}
    )
    assert [record["state"] for record in records.read(machine("a"))] == ["complete"]
