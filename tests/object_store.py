"""An S3 of this machine, by moto's server, as fixtures.

server, s3 = object_store.server, object_store.s3
"""

import logging
from pathlib import Path

import pytest

boto3 = pytest.importorskip("boto3", reason="boto3 and moto are not installed")
_moto = pytest.importorskip("moto.server", reason="moto[s3] is not installed")

BUCKET = "bucket"


@pytest.fixture(scope="module")
def server():
    """Runs the server, sends S3's clients of this process and its children to it."""
    from pipeline.storage import s3 as ours

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server = _moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_MAX_ATTEMPTS": "2",
            }.items():
                patch.setenv(name, value)
            ours.client.cache_clear()
            client = ours.client()
            client.create_bucket(Bucket=BUCKET)
            yield client
            client.close()
    finally:
        ours.client.cache_clear()
        server.stop()


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    """A client of the server, whose bucket is empty; and a mirror, empty too."""
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "mirror"))
    for key in keys(server):
        server.delete_object(Bucket=BUCKET, Key=key)
    return server


@pytest.fixture
def machine(request, s3, tmp_path, monkeypatch):
    """Makes this process a machine, by its name; returns its mirror of the URL.

    Which is the test module's own `URL`.
    """
    from pipeline.storage import mirror

    def become(name):
        monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / f"mirror-{name}"))
        return Path(mirror.of(request.module.URL))

    return become


def keys(client, prefix=""):
    """The names of the objects below a prefix, sorted."""
    pages = client.get_paginator("list_objects_v2")
    return sorted(
        item["Key"]
        for page in pages.paginate(Bucket=BUCKET, Prefix=prefix)
        for item in page.get("Contents", ())
    )
