"""TFRecord files: read record by record, written from blocks of records of one length.

A record of n bytes is framed by its length, a checksum of the length, and a checksum of
itself behind. Blocks are framed by NumPy and compressed as a whole, which costs a third
of what TensorFlow's writer does, record by record.
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

# Level 1 writes 3 times faster than the default 6; files are 30 % larger.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS  # with a header that has no time, so bytes don't differ
_HEAD = 12


def read(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yields (record, whether it matches its checksum).

    Raises:
        EOFError: The file is cut off, or nobody can tell where the next record starts.
    """
    while head := stream.read(_HEAD):
        if len(head) < _HEAD or head[8:] != _checksum(head[:8]):
            raise EOFError("the frame of a record is damaged or cut off")
        length = int.from_bytes(head[:8], "little")
        record, checksum = stream.read(length), stream.read(4)
        if len(record) < length or len(checksum) < 4:
            raise EOFError("a record is cut off")
        yield record, checksum == _checksum(record)


def write(path: Path, blocks: Iterable[np.ndarray]) -> None:
    """Writes a compressed file.

    Args:
        path: The file.
        blocks: uint8 (records, length) each; the length may differ between them.
    """
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    with path.open("wb") as file:
        for block in blocks:
            file.write(compressor.compress(_framed(block)))
        file.write(compressor.flush())


def _framed(block: np.ndarray) -> memoryview:
    rows, size = block.shape
    framed = np.empty((rows, _HEAD + size + 4), np.uint8)
    length = size.to_bytes(8, "little")
    framed[:, :_HEAD] = np.frombuffer(length + _checksum(length), np.uint8)
    framed[:, _HEAD:-4] = block
    data, crc = block.tobytes(), google_crc32c.value
    starts = range(0, len(data), size)
    sums = np.fromiter((crc(data[i : i + size]) for i in starts), np.uint32, rows)
    framed[:, -4:] = _masked(sums)[:, None].view(np.uint8)
    return framed.reshape(-1).data


def _checksum(data: bytes) -> bytes:
    """The masked CRC-32C of a TFRecord."""
    return _masked(np.array([google_crc32c.value(data)], np.uint32)).tobytes()


def _masked(crc: np.ndarray) -> np.ndarray:
    """As TFRecord stores checksums: rotated, plus a constant; uint32 wraps around."""
    masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
    return masked.astype("<u4")
