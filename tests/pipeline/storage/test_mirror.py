import json
import os
import shutil
from pathlib import Path

import object_store
import pytest
from conftest import raw_config

from pipeline import wildcards
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.storage import mirror, remote
from pipeline.workspace import lock as workspaces

server, s3 = object_store.server, object_store.s3
URL = "s3://bucket/feed/Trainer/model/3-abc"


@pytest.fixture
def artifact(s3, tmp_path):
    """One of the store, which the mirror has too."""
    path = Path(mirror.of(URL))
    made = path.with_suffix(".tmp")
    (made / "variables").mkdir(parents=True)
    (made / "variables" / "data").write_bytes(os.urandom(3000))
    (made / "empty").touch()
    mirror.push(made, path)
    made.rename(path)
    return path


def _contents(folder):
    return {name: (folder / name).read_bytes() for name in mirror.names_in(folder)}


def _other_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "another"))
    return Path(mirror.of(URL))


def test_a_place_has_a_folder_and_a_folder_its_place(monkeypatch):
    monkeypatch.setenv("TFMTL_MIRROR", "/somewhere")
    assert mirror.of("s3://bucket/a/b/") == "/somewhere/s3/bucket/a/b"
    assert mirror.url(Path("/somewhere/s3/bucket/a/b")) == "s3://bucket/a/b"
    assert mirror.url(Path("/elsewhere/s3/bucket")) is None
    assert mirror.shown("served") == "served"
    for wrong in ("s3://", "s3:///", "s3://bucket/../x", "://bucket"):
        with pytest.raises(ValueError, match="must be such as s3://bucket/folder"):
            mirror.of(wrong)


def test_another_machine_gets_an_artifact_byte_for_byte(
    artifact, tmp_path, monkeypatch
):
    there = _other_machine(tmp_path, monkeypatch)
    assert not there.exists() and mirror.present(there)
    assert _contents(mirror.pull(there)) == _contents(artifact)


def test_an_artifact_is_copied_once(artifact, monkeypatch):
    monkeypatch.setattr(remote, "download", None)
    assert mirror.pull(artifact) == artifact


def test_the_marker_is_written_last(s3, tmp_path, monkeypatch):
    """At every moment of an upload a reader sees no artifact, or all of it."""
    made, path = tmp_path / "made", Path(mirror.of(URL))
    made.mkdir()
    for name in "abc":
        (made / name).write_text(name)
    seen = []

    def watched(url, content):
        seen.append((mirror.present(path), object_store.keys(s3)))
        write(url, content)

    write = remote.write
    monkeypatch.setattr(remote, "write", watched)
    mirror.push(made, path)
    whole = [URL.removeprefix("s3://bucket/") + f"/{name}" for name in "abc"]
    assert seen == [(False, whole)]
    assert mirror.present(path)


def test_an_upload_that_breaks_leaves_no_artifact(s3, tmp_path):
    made, path = tmp_path / "made", Path(mirror.of(URL))
    made.mkdir()
    (made / "a").write_text("a")
    (made / "b").symlink_to(made / "a")
    remote.upload(made, URL, ["a"])
    (made / "a").unlink()  # as if the disk lost it
    (made / "a").mkdir()
    with pytest.raises(PipelineError):
        remote.upload(made, URL, ["a"])
    assert not mirror.present(path)
    with pytest.raises(PipelineError, match="there is no whole artifact"):
        mirror.pull(path)
    assert not path.exists()


def test_a_file_that_was_changed_is_refused(artifact, s3, tmp_path, monkeypatch):
    there = _other_machine(tmp_path, monkeypatch)
    key = URL.removeprefix("s3://bucket/") + "/variables/data"
    s3.put_object(Bucket="bucket", Key=key, Body=b"\0" * 3000)  # of the same size
    with pytest.raises(PipelineError, match="variables/data is not what _MANIFEST"):
        mirror.pull(there)
    assert not there.exists()


def test_a_folder_of_the_mirror_that_is_not_whole_is_copied_anew(artifact):
    before = _contents(artifact)
    (artifact / mirror.MANIFEST).unlink()
    (artifact / "empty").unlink()
    assert _contents(mirror.pull(artifact)) == before


def test_deleting_takes_the_marker_first(artifact, s3, monkeypatch):
    deleted = []

    def watched(urls):
        deleted.append([url.removeprefix(f"{URL}/") for url in urls])
        delete(f"{URL}/{name}" for name in deleted[-1])

    delete = remote.delete
    monkeypatch.setattr(remote, "delete", watched)
    mirror.delete(artifact)
    assert deleted == [["_MANIFEST"], ["empty", "variables/data"]]
    assert not object_store.keys(s3) and not artifact.exists()


def test_the_longest_unused_leaves_the_mirror_first(s3, monkeypatch):
    workspace = Path(mirror.of("s3://bucket/feed"))
    paths = [workspace / "Trainer" / "model" / f"{i}-a" for i in range(4)]
    for i, path in enumerate(paths):
        path.mkdir(parents=True)
        (path / "data").write_bytes(b"\0" * 1000)
        mirror.push(path, path)
        os.utime(path / mirror.MANIFEST, (i, i))
    mirror.pull(paths[0])  # which makes it the newest
    monkeypatch.setenv("TFMTL_MIRROR_GB", "1e-9")
    mirror.evict(workspace, keep=[paths[1]])
    assert [path.is_dir() for path in paths] == [False, True, False, False]
    shutil.rmtree(paths[1])
    for path in paths:
        mirror.pull(path)
    for i, path in enumerate(paths):
        os.utime(path / mirror.MANIFEST, (i, i))
    mirror.pull(paths[0])
    monkeypatch.setenv("TFMTL_MIRROR_GB", "2.1e-6")
    mirror.evict(workspace, keep=[])
    assert [path.is_dir() for path in paths] == [True, False, False, True]
    assert all(map(mirror.present, paths))


def test_an_eviction_that_is_killed_leaves_the_store_as_it_is(artifact, monkeypatch):
    monkeypatch.setenv("TFMTL_MIRROR_GB", "1e-9")
    workspace = artifact.parents[2]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            mirror.evict(workspace, keep=[])
    assert not artifact.exists()
    workspaces.clear(workspace)
    assert mirror.pull(artifact).is_dir()


def test_what_wildcards_stand_for_is_known_to_every_machine(s3, tmp_path, monkeypatch):
    logs = tmp_path / "logs.csv"
    logs.write_text("user,c_a,click\nu,1,0\n")
    raw = raw_config(
        {"logs": [str(logs)]},
        features=["user", {"name": "c_*", "kind": "categorical"}],
        workspace="s3://bucket/feed",
    )
    for name in "ab":
        monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / name))
        config = wildcards.expand(Config.model_validate(raw))
        assert [feature.name for feature in config.features] == ["user", "c_a"]
        logs.write_text("user,c_a,c_b,click\nu,1,1,0\n")


def test_what_a_store_says_is_one_message(s3):
    with pytest.raises(PipelineError, match=r"^s3://nobody/x/a: the store .*'nobody'"):
        remote.write("s3://nobody/x/a", b"")
    with pytest.raises(PipelineError, match=r"foo:// is installed: use s3, gs or hdfs"):
        remote.files("foo://bucket/x")


def test_logs_of_a_store_are_listed(s3):
    from pipeline.logs import files

    s3.put_object(Bucket="bucket", Key="logs/a.csv", Body=b"user,click\n1,0\n")
    ((path, size, _),) = files.versions(["s3://bucket/logs/*.csv"])
    assert (path, size) == ("s3://bucket/logs/a.csv", 15)


def test_of_several_who_create_a_file_one_succeeds(s3):
    assert remote.create("s3://bucket/a", b"first")
    assert not remote.create("s3://bucket/a", b"second")
    assert remote.read("s3://bucket/a") == b"first"


def test_stores_of_beam_do_the_same(tmp_path):
    """What gs:// and hdfs:// are read and written by, on a local disk."""
    from pipeline.storage import filesystems

    at, file = f"{tmp_path}/store", tmp_path / "file"
    file.write_bytes(b"content")
    filesystems.put(file, f"{at}/a/b")
    filesystems.write(f"{at}/c", b"more")
    assert not filesystems.create(f"{at}/c", b"other")
    found = {name: of.size for name, of in filesystems.files(at).items()}
    assert found == {"a/b": 7, "c": 4}
    assert filesystems.read(f"{at}/c") == b"more"
    assert filesystems.read(f"{at}/d") is filesystems.version(f"{at}/d") is None
    before = filesystems.version(f"{at}/c")
    filesystems.write(f"{at}/c", b"longer")
    assert filesystems.version(f"{at}/c") != before
    filesystems.get(f"{at}/a/b", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"
    filesystems.delete([f"{at}/a/b"])
    assert [*filesystems.files(at)] == ["c"]


def test_the_manifest_lists_what_is_there(artifact):
    listed = json.loads((artifact / mirror.MANIFEST).read_text())
    assert {name: size for name, (size, _) in listed.items()} == {
        "empty": 0,
        "variables/data": 3000,
    }
