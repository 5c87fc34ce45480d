"""An S3 of this machine, by moto's server."""

import contextlib
import logging

import pytest

boto3 = pytest.importorskip("boto3", reason="boto3 and moto are not installed")
_server = pytest.importorskip("moto.server", reason="moto[s3] is not installed")


@contextlib.contextmanager
def s3(bucket="bucket"):
    """Runs the server, sends S3's clients of this process and its children to it.

    Args:
        bucket: The one that there is.
    """
    from pipeline.storage import s3 as ours

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server = _server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
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
            client.create_bucket(Bucket=bucket)
            yield client
            client.close()
    finally:
        ours.client.cache_clear()
        server.stop()


def keys(client, prefix="", bucket="bucket"):
    """The names of the objects below a prefix, sorted."""
    pages = client.get_paginator("list_objects_v2")
    return sorted(
        item["Key"]
        for page in pages.paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", ())
    )


def empty(client, bucket="bucket"):
    """Deletes all objects."""
    for key in keys(client, bucket=bucket):
        client.delete_object(Bucket=bucket, Key=key)
