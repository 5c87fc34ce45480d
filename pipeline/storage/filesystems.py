"""Files of stores for which Beam has a file system: hdfs:// and others."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.storage.file import BLOCK_BYTES, File

_AS_IT_IS = {"compression_type": CompressionTypes.UNCOMPRESSED}

# S3's, of which logs are read, needs options, and has them only from a Beam job else.
if FileSystems._pipeline_options is None:
    FileSystems.set_options(PipelineOptions([]))


def files(url: str) -> dict[str, File]:
    """The files below a folder, by their paths from there."""
    (found,) = FileSystems.match([f"{url}/**"])
    return {
        file.path.removeprefix(f"{url}/"): File(
            file.size_in_bytes, file.last_updated_in_seconds
        )
        for file in found.metadata_list
    }


def version(url: str) -> str | None:
    """What tells a file's content from those before; None if there is no such file."""
    return str(FileSystems.checksum(url)) if FileSystems.exists(url) else None


def read(url: str) -> bytes | None:
    """The content of a small file; None if there is no such."""
    if not FileSystems.exists(url):
        return None
    with FileSystems.open(url, **_AS_IT_IS) as file:
        return file.read()


def write(url: str, content: bytes) -> None:
    """Writes a small file."""
    with FileSystems.create(url, **_AS_IT_IS) as file:
        file.write(content)


def create(url: str, content: bytes) -> bool:
    """Writes a small file unless there is one; another may do so at the same moment."""
    if FileSystems.exists(url):
        return False
    write(url, content)
    return True


def put(file: Path, url: str) -> None:
    """Copies a local file into the store."""
    with file.open("rb") as source, FileSystems.create(url, **_AS_IT_IS) as to:
        shutil.copyfileobj(source, to, BLOCK_BYTES)


def get(url: str, file: Path) -> None:
    """Copies a file of the store to a local one."""
    with FileSystems.open(url, **_AS_IT_IS) as source, file.open("wb") as to:
        shutil.copyfileobj(source, to, BLOCK_BYTES)


def delete(urls: Sequence[str]) -> None:
    """Deletes files."""
    FileSystems.delete(list(urls))
