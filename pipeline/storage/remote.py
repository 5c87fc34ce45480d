"""What is done in an object store, by the file system that Beam has for its scheme.

Whatever goes wrong there, credentials, bucket or network, becomes one message.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import PipelineError

_AS_IT_IS = {"compression_type": CompressionTypes.UNCOMPRESSED}
_AT_A_TIME = 4  # files on their way
_BLOCK_BYTES = 1 << 20
_EXTRAS = {"s3": "aws", "gs": "gcp", "hdfs": "hadoop"}
_LONG = 300  # characters of a client's own words


class File(NamedTuple):
    """A file in a store.

    Attributes:
        size: Bytes.
        time: When it was written, in seconds since 1970.
    """

    size: int
    time: float


def files(url: str) -> dict[str, File]:
    """The files below a folder, by their paths from there; none if there is no such."""
    with _told(url):
        (found,) = FileSystems.match([f"{url}/**"])
        return {
            file.path.removeprefix(f"{url}/"): File(
                file.size_in_bytes, file.last_updated_in_seconds
            )
            for file in sorted(found.metadata_list, key=lambda file: file.path)
        }


def stat(url: str) -> File | None:
    """A file; None if there is no such."""
    with _told(url):
        (found,) = FileSystems.match([url])
        for file in found.metadata_list:
            return File(file.size_in_bytes, file.last_updated_in_seconds)
    return None


def exists(url: str) -> bool:
    """Whether there is such a file."""
    with _told(url):
        return FileSystems.exists(url)


def read(url: str) -> bytes | None:
    """The content of a small file; None if there is no such."""
    if not exists(url):
        return None
    with _told(url), FileSystems.open(url, **_AS_IT_IS) as file:
        return file.read()


def write(url: str, content: bytes) -> None:
    """Writes a small file."""
    with _told(url), FileSystems.create(url, **_AS_IT_IS) as file:
        file.write(content)


def upload(folder: Path, url: str, names: Collection[str]) -> None:
    """Copies files of a folder into the store; all are there when it returns."""
    _parallel(lambda name: _put(folder / name, f"{url}/{name}"), names)


def download(url: str, folder: Path, names: Collection[str]) -> None:
    """Copies files from the store; each is whole, or not there."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    _parallel(lambda name: _get(f"{url}/{name}", folder / name), names)


def delete(urls: Iterable[str]) -> None:
    """Deletes files."""
    urls = list(urls)
    if urls:
        with _told(urls[0]):
            FileSystems.delete(urls)


def checksum(file: Path) -> int:
    """The CRC32C of a local file."""
    total = google_crc32c.Checksum()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            total.update(block)
    return int.from_bytes(total.digest(), "big")


def _parallel(function: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for done in [pool.submit(function, name) for name in names]:
            done.result()


def _put(file: Path, url: str) -> None:
    with (
        file.open("rb") as source,
        _told(url),
        FileSystems.create(url, **_AS_IT_IS) as to,
    ):
        shutil.copyfileobj(source, to, _BLOCK_BYTES)


def _get(url: str, file: Path) -> None:
    part = file.with_name(f".{uuid.uuid4().hex}")
    try:
        with part.open("wb") as to:
            with _told(url), FileSystems.open(url, **_AS_IT_IS) as source:
                shutil.copyfileobj(source, to, _BLOCK_BYTES)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """What a store's client raises, each its own kinds, becomes one message."""
    try:
        yield
    except Exception as error:
        raise PipelineError(_message(url, error)) from error


def _message(url: str, error: Exception) -> str:
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    if isinstance(error, ValueError | ImportError | AssertionError):
        extra = _EXTRAS.get(scheme)
        known = f"pip install 'tfmtl[{extra}]'" if extra else "use s3, gs or hdfs"
        return f"{url}: no file system for {scheme}:// is installed: {known}"
    return (
        f"{url}: the store cannot be used: {_reason(error)}. Look at the name "
        f"{bucket!r}, the credentials and the network. What is complete stays; the "
        "same command goes on from there"
    )


def _reason(error: Exception) -> str:
    details: Any = isinstance(error, BeamIOError) and error.exception_details
    if details:
        error = next(iter(details.values()))
        if isinstance(error, BeamIOError):
            return _reason(error)
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:_LONG].rstrip(".")
