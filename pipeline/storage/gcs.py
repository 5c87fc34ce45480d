"""Files at gs://, by one client of google-cloud-storage for the process.

It takes its credentials from where Google's libraries do: the environment
(GOOGLE_APPLICATION_CREDENTIALS), `gcloud auth application-default login`, or the
machine's account. Beam's file system would ask for them anew, and cannot write a file
only if there is none.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage

from pipeline.storage.file import File

_AT_A_TIME = 8  # files that are being deleted


@functools.cache
def client() -> storage.Client:
    """The client; it may be used by threads at once."""
    return storage.Client()


def files(url: str) -> dict[str, File]:
    """The files below a folder, by their paths from there."""
    bucket, key = _parsed(url)
    found = client().list_blobs(bucket, prefix=f"{key}/")
    return {
        blob.name.removeprefix(f"{key}/"): File(
            blob.size, blob.updated.timestamp(), str(blob.generation)
        )
        for blob in found
    }


def version(url: str) -> str | None:
    """What tells a file's content from those before; None if there is no such file."""
    bucket, key = _parsed(url)
    blob = client().bucket(bucket).get_blob(key)
    return None if blob is None else str(blob.generation)


def read(url: str) -> bytes | None:
    """The content of a small file; None if there is no such."""
    try:
        return _blob(url).download_as_bytes()
    except NotFound:
        return None


def write(url: str, content: bytes) -> None:
    """Writes a small file."""
    _blob(url).upload_from_string(content)


def create(url: str, content: bytes) -> bool:
    """Writes a small file unless there is one; of several who do so, one succeeds."""
    try:
        _blob(url).upload_from_string(content, if_generation_match=0)
    except PreconditionFailed:
        return False
    return True


def put(file: Path, url: str) -> None:
    """Copies a local file into the store."""
    _blob(url).upload_from_filename(str(file))


def get(url: str, file: Path) -> None:
    """Copies a file of the store to a local one."""
    _blob(url).download_to_filename(str(file))


def delete(urls: Sequence[str]) -> None:
    """Deletes files; one that is gone already is no error."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for _ in pool.map(_delete, urls):
            pass


def _delete(url: str) -> None:
    try:
        _blob(url).delete()
    except NotFound:
        pass


def _blob(url: str) -> storage.Blob:
    bucket, key = _parsed(url)
    return client().bucket(bucket).blob(key)


def _parsed(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("gs://").partition("/")
    return bucket, key
