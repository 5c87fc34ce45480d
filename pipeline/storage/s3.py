"""Files at s3://, by one client of boto3 for the process.

It takes its credentials and its endpoint from where boto3 does: the environment
(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...), ~/.aws, or the machine's role.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from pipeline.storage.file import File

_MOST_AT_ONCE = 1000  # keys that one request deletes
_OF_A_FILE = TransferConfig(max_concurrency=2)


@functools.cache
def client() -> Any:
    """The client; it may be used by threads at once."""
    return boto3.client("s3")


def files(url: str) -> dict[str, File]:
    """The files below a folder, by their paths from there."""
    bucket, key = _parsed(url)
    pages = client().get_paginator("list_objects_v2")
    return {
        item["Key"].removeprefix(f"{key}/"): File(
            item["Size"], item["LastModified"].timestamp(), item["ETag"]
        )
        for page in pages.paginate(Bucket=bucket, Prefix=f"{key}/")
        for item in page.get("Contents", ())
    }


def version(url: str) -> str | None:
    """What tells a file's content from those before; None if there is no such file."""
    bucket, key = _parsed(url)
    try:
        return client().head_object(Bucket=bucket, Key=key)["ETag"]
    except ClientError as error:
        if _code(error) in ("404", "NoSuchKey", "NotFound"):
            return None
        raise


def read(url: str) -> bytes | None:
    """The content of a small file; None if there is no such."""
    bucket, key = _parsed(url)
    try:
        with client().get_object(Bucket=bucket, Key=key)["Body"] as body:
            return body.read()
    except ClientError as error:
        if _code(error) == "NoSuchKey":
            return None
        raise


def write(url: str, content: bytes) -> None:
    """Writes a small file."""
    bucket, key = _parsed(url)
    client().put_object(Bucket=bucket, Key=key, Body=content)


def create(url: str, content: bytes) -> bool:
    """Writes a small file unless there is one; of several who do so, one succeeds."""
    bucket, key = _parsed(url)
    try:
        client().put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
            return False
        raise
    return True


def put(file: Path, url: str) -> None:
    """Copies a local file into the store."""
    bucket, key = _parsed(url)
    client().upload_file(str(file), bucket, key, Config=_OF_A_FILE)


def get(url: str, file: Path) -> None:
    """Copies a file of the store to a local one."""
    bucket, key = _parsed(url)
    client().download_file(bucket, key, str(file), Config=_OF_A_FILE)


def delete(urls: Sequence[str]) -> None:
    """Deletes files, of one bucket.

    Raises:
        PermissionError: Some of them stay.
    """
    bucket, _ = _parsed(urls[0])
    for start in range(0, len(urls), _MOST_AT_ONCE):
        keys = [{"Key": _parsed(url)[1]} for url in urls[start:][:_MOST_AT_ONCE]]
        wanted = {"Objects": keys, "Quiet": True}
        found = client().delete_objects(Bucket=bucket, Delete=wanted)
        for fault in found.get("Errors", ()):
            raise PermissionError(f"{fault['Key']}: {fault['Message']}")


def _parsed(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]
