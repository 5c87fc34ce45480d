"""An S3 of this machine, by moto's server."""

import contextlib

import boto3
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def s3(patch, bucket="bucket"):
    """Runs the server, sends S3's clients of this process and its children to it.

    Args:
        patch: Pytest's `monkeypatch`.
        bucket: The one that there is.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "2",
    }.items():
        patch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    try:
        yield client
    finally:
        server.stop()
