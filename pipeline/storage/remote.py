"""What is done in an object store.

Whatever goes wrong there, credentials, bucket or network, becomes one message.
"""

import contextlib
import importlib
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import google_crc32c

from pipeline.errors import PipelineError
from pipeline.storage.file import BLOCK_BYTES, File

_AT_A_TIME = 4  # files on their way
_MODULES = {"s3": "s3", "gs": "gcs"}  # scheme -> the module for it
_EXTRAS = {"s3": "aws", "gs": "gcp", "hdfs": "hadoop"}
_LONG = 300  # characters of a client's own words


def files(url: str) -> dict[str, File]:
    """The files below a folder, by their paths from there; none if there is no such."""
    with _told(url) as store:
        return store.files(url)


def version(url: str) -> str | None:
    """What tells a file's content from those before; None if there is no such file."""
    with _told(url) as store:
        return store.version(url)


def exists(url: str) -> bool:
    """Whether there is such a file."""
    return version(url) is not None


def read(url: str) -> bytes | None:
    """The content of a small file; None if there is no such."""
    with _told(url) as store:
        return store.read(url)


def write(url: str, content: bytes) -> None:
    """Writes a small file."""
    with _told(url) as store:
        store.write(url, content)


def create(url: str, content: bytes) -> bool:
    """Writes a small file unless there is one; returns whether it did."""
    with _told(url) as store:
        return store.create(url, content)


def upload(folder: Path, url: str, names: Collection[str]) -> None:
    """Copies files of a folder into the store; all are there when it returns."""

    def put(name: str) -> None:
        at = f"{url}/{name}"
        with _told(at) as store:
            store.put(folder / name, at)

    _parallel(put, names)


def download(url: str, folder: Path, names: Collection[str]) -> None:
    """Copies files from the store; each is whole, or not there."""

    def get(name: str) -> None:
        file, at = folder / name, f"{url}/{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{uuid.uuid4().hex}")
        try:
            with _told(at) as store:
                store.get(at, part)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)

    _parallel(get, names)


def delete(urls: Iterable[str]) -> None:
    """Deletes files, all of one bucket."""
    urls = list(urls)
    if urls:
        with _told(urls[0]) as store:
            store.delete(urls)


def delete_folder(url: str, first: str) -> None:
    """Deletes all files below a folder, one before the others."""
    names = files(url)
    delete(f"{url}/{name}" for name in names if name == first)
    delete(f"{url}/{name}" for name in names if name != first)


def checksum(file: Path) -> int:
    """The CRC32C of a local file."""
    total = google_crc32c.Checksum()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            total.update(block)
    return int.from_bytes(total.digest(), "big")


def _parallel(function: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for done in [pool.submit(function, name) for name in names]:
            done.result()


@contextlib.contextmanager
def _told(url: str) -> Iterator[ModuleType]:
    """What a store's client raises, each its own kinds, becomes one message.

    Yields:
        The module for the store.
    """
    try:
        name = _MODULES.get(url.partition("://")[0], "filesystems")
        yield importlib.import_module(f"pipeline.storage.{name}")
    except Exception as error:
        raise PipelineError(_message(url, error)) from error


def _message(url: str, error: Exception) -> str:
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    is_lacking = isinstance(error, ImportError)
    if is_lacking or (
        isinstance(error, ValueError) and scheme not in _MODULES
    ):  # of Beam
        extra = _EXTRAS.get(scheme)
        known = f"pip install 'tfmtl[{extra}]'" if extra else "use s3, gs or hdfs"
        return f"{url}: no file system for {scheme}:// is installed: {known}"
    return (
        f"{url}: the store cannot be used: {_reason(error)}. Look at the name "
        f"{bucket!r}, the credentials and the network. What is complete stays; the "
        "same command goes on from there"
    )


def _reason(error: Exception) -> str:
    while details := getattr(error, "exception_details", None):  # of Beam
        error = next(iter(details.values()))
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:_LONG].rstrip(".")
