"""Publishing versions and pruning old ones."""

import os
import threading

import pytest

from serving.publish import PublishError, publish


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
