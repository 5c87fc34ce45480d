"""A store, empty for each test, and a mirror of it."""

import object_store
import pytest


@pytest.fixture(scope="module")
def server():
    with object_store.s3() as client:
        yield client


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "mirror"))
    object_store.empty(server)
    return server
