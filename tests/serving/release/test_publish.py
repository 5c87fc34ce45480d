"""Publishing versions and pruning old ones."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from serving.config.server import read_config_file
from serving.release import rollbacks
from serving.release.publish import PublishError, publish, rollback, versions


@pytest.fixture
def saved_model(tmp_path):
    """A directory that looks like a SavedModel."""
    path = tmp_path / "export"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"graph")
    (path / "variables" / "variables.index").write_bytes(b"index")
    return path


def _names(base):
    return sorted(os.listdir(base))


def test_versions_count_up_and_the_oldest_leave(saved_model, tmp_path):
    base = tmp_path / "new" / "base"
    for number in range(1, 6):
        target = publish(saved_model, base, keep=2)
        assert target == base / str(number)
        assert (target / "variables" / "variables.index").read_bytes() == b"index"
        assert target.stat().st_mode & 0o777 == 0o755
    assert _names(base) == ["4", "5"]


def test_an_explicit_version_is_kept_even_if_old_and_not_overwritten(
    saved_model, tmp_path
):
    base = tmp_path / "base"
    publish(saved_model, base, version=20260101)
    publish(saved_model, base, version=7, keep=1)
    assert _names(base) == ["20260101", "7"]
    assert publish(saved_model, base).name == "20260102"
    with pytest.raises(PublishError, match="Version 7 exists already"):
        publish(saved_model, base, version=7)
    assert not [name for name in _names(base) if name.startswith(".")]


@pytest.mark.parametrize("missing", ["saved_model.pb", "variables/variables.index"])
def test_half_a_saved_model_is_refused(saved_model, tmp_path, missing):
    (saved_model / missing).unlink()
    with pytest.raises(PublishError, match=f"which lacks {missing}"):
        publish(saved_model, tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("arguments", [{"keep": 0}, {"version": -1}])
def test_arguments_out_of_range_are_refused(saved_model, tmp_path, arguments):
    with pytest.raises(PublishError, match="Received"):
        publish(saved_model, tmp_path / "base", **arguments)


def test_no_version_is_ever_seen_half_copied(saved_model, tmp_path, monkeypatch):
    base = tmp_path / "base"
    seen = []
    original = os.fsync

    def watch(descriptor):
        seen.append([name for name in _names(base) if name.isdigit()])
        original(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    publish(saved_model, base)
    *during, after = seen
    assert len(during) >= 4 and not any(during) and after == ["1"]


def test_a_failed_copy_leaves_nothing_behind(saved_model, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        publish(saved_model, tmp_path / "base")
    assert _names(tmp_path / "base") == []


def test_publishers_at_once_get_a_version_each(saved_model, tmp_path):
    base = tmp_path / "base"
    threads = [
        threading.Thread(target=publish, args=(saved_model, base), kwargs={"keep": 99})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _names(base) == sorted(map(str, range(1, 9)))


def test_files_are_added_and_replaced_in_the_copy(saved_model, tmp_path):
    extra = {"assets.extra/card.json": "{}", "saved_model.pb": "other"}
    target = publish(saved_model, tmp_path / "base", extra=extra)
    assert (target / "assets.extra" / "card.json").read_text() == "{}"
    assert (target / "saved_model.pb").read_text() == "other"
    assert (saved_model / "saved_model.pb").read_bytes() == b"graph"


def test_rollback_publishes_the_version_before_anew(saved_model, tmp_path):
    base = tmp_path / "base"
    for name in (b"one", b"two", b"three"):
        (saved_model / "saved_model.pb").write_bytes(name)
        publish(saved_model, base)
    assert (rollback(base) / "saved_model.pb").read_bytes() == b"two"
    assert (rollback(base, to=1) / "saved_model.pb").read_bytes() == b"one"
    assert _names(base) == [".rolled-back", "1", "2", "3", "4", "5"]
    with pytest.raises(PublishError, match="There is no version 9 .*It has: "):
        rollback(base, to=9)
    with pytest.raises(PublishError, match="no older version"):
        rollback(base)  # 2 and 3 were rolled back, and 1 is what is served
    with pytest.raises(PublishError, match="no older version"):
        rollback(tmp_path / "none")


def test_a_rollback_that_was_killed_at_its_end_goes_no_further(
    saved_model, tmp_path, monkeypatch
):
    base = tmp_path / "base"
    for name in (b"one", b"two", b"three"):
        (saved_model / "saved_model.pb").write_bytes(name)
        publish(saved_model, base)

    def killed(note):
        raise KeyboardInterrupt

    for step in ("begin", "mark", "end"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(rollbacks, step, lambda *_: killed(None))
            rollback(base)
        assert [*versions(base)] == ([1, 2, 3] if step == "begin" else [1, 2, 3, 4])
    assert (rollback(base) / "saved_model.pb").read_bytes() == b"two"
    assert [*versions(base)] == [1, 2, 3, 4]
    assert (rollback(base) / "saved_model.pb").read_bytes() == b"one"


def test_versions_are_numbers_and_folders_names(saved_model, tmp_path):
    base = tmp_path / "base"
    for name, content in (("0001", b"old"), ("1", b"one"), ("0002", b"two")):
        (saved_model / "saved_model.pb").write_bytes(content)
        shutil.copytree(saved_model, base / name)
    assert versions(base) == {1: base / "1", 2: base / "0002"}
    with pytest.raises(PublishError, match=f"Version 2 exists already: {base}/0002"):
        publish(saved_model, base, version=2)
    assert (rollback(base) / "saved_model.pb").read_bytes() == b"one"
    assert _names(base) == [".rolled-back", "0001", "0002", "1", "3"]
    (saved_model / "saved_model.pb").write_bytes(b"four")
    publish(saved_model, base, keep=1)
    assert _names(base) == [".rolled-back", "4"]


def test_what_a_killed_publisher_left_is_removed(saved_model, tmp_path):
    base = tmp_path / "base"
    for left in (".publishing-x", ".deleting-y"):
        (base / left).mkdir(parents=True)
        (base / left / "file").touch()
    publish(saved_model, base)
    assert _names(base) == ["1"]


# For each number that it is given, it publishes until so many calls that touch files
# have been made, and kills itself there.
_KILLED = """
import itertools, os, pathlib, signal, sys
from serving.release import releases, servers
source, base, config = map(pathlib.Path, sys.argv[1:])
left = 0
def watch(event, arguments):
    global left
    if left and event.startswith(("open", "os.", "shutil.")):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
def work():
    for number in itertools.count():
        (source / "saved_model.pb").write_text(str(number))
        shop = releases.Release(
            config, "shop", servers.Servers((), "shop"), base, unchecked=True
        )
        for labels in (["canary"], ["stable", "canary"]):
            try:
                releases.publish(shop, source, labels, keep=2)
            except releases.UnfinishedError:
                pass
        if number % 3 == 2:
            try:
                releases.roll_back(shop)
            except releases.UnfinishedError:
                pass
sys.addaudithook(watch)
for line in sys.stdin:
    child = os.fork()
    if not child:
        left = int(line)
        work()
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status), flush=True)
"""


def test_kill_9_at_any_moment_leaves_whole_versions_only(saved_model, tmp_path):
    random = np.random.default_rng(0)
    (saved_model / "assets").mkdir()
    for number in range(5):  # a copy has many moments
        (saved_model / "assets" / f"{number}.txt").write_bytes(b"x" * 1000)
    # But for the file that tells the models apart.
    whole = {
        p.relative_to(saved_model): p.stat().st_size
        for p in _files(saved_model)
        if p.name != "saved_model.pb"
    }
    base, config = tmp_path / "base", tmp_path / "etc" / "models.config"
    command = [sys.executable, "-c", _KILLED, *map(str, (saved_model, base, config))]
    left_behind = 0
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        for moment in random.integers(1, 800, 30):
            print(moment, file=process.stdin, flush=True)
            assert process.stdout.readline() == f"{signal.SIGKILL:d}\n"
            on_disk = [n for n in _names(base) if n.isdigit()] if base.exists() else []
            for name in on_disk:
                found = {
                    p.relative_to(base / name): p.stat().st_size
                    for p in _files(base / name)
                    if p.name != "saved_model.pb"
                }
                assert found == whole, name
            if config.exists():  # as a server reads it: whole, of versions that exist
                (model,) = read_config_file(config)
                listed = {*model.versions, *model.labels.values()}
                assert listed <= {*map(int, on_disk)}
            left_behind += bool(_left_behind(base))
    assert left_behind > 5  # else no kill came in the middle of a copy
    publish(saved_model, base)
    assert not _left_behind(base)


def _left_behind(base):
    names = set(_names(base)) if base.exists() else set()
    return {name for name in names if not name.isdigit()} - {".rolled-back"}


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]
