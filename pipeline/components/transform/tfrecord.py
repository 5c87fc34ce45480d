"""A compressed TFRecord file, written from blocks of records of one length.

A record of n bytes is framed by its length, a checksum of the length, and a checksum of
itself behind. Blocks are framed by NumPy and compressed as a whole, which costs a third
of what TensorFlow's writer does, record by record.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np

# Level 1 writes 3 times faster than the default 6; files are 30 % larger.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS  # with a header that has no time, so bytes don't differ
_HEAD = 12


def write(path: Path, blocks: Iterable[np.ndarray]) -> int:
    """Writes a file and returns how many records it has.

    Args:
        path: The file.
        blocks: uint8 (records, length) each; the length may differ between them.
    """
    records = 0
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    with path.open("wb") as file:
        for block in blocks:
            records += len(block)
            file.write(compressor.compress(_framed(block)))
        file.write(compressor.flush())
    return records


def _checksum(data: bytes | memoryview) -> int:
    """The masked CRC-32C of a TFRecord."""
    return int(_masked(np.array([google_crc32c.value(data)], np.uint32))[0])


def _framed(block: np.ndarray) -> memoryview:
    rows, size = block.shape
    framed = np.empty((rows, _HEAD + size + 4), np.uint8)
    length = size.to_bytes(8, "little")
    head = length + _checksum(length).to_bytes(4, "little")
    framed[:, :_HEAD] = np.frombuffer(head, np.uint8)
    framed[:, _HEAD:-4] = block
    data, crc = block.tobytes(), google_crc32c.value
    starts = range(0, len(data), size)
    sums = np.fromiter((crc(data[i : i + size]) for i in starts), np.uint32, rows)
    framed[:, -4:] = _masked(sums).astype("<u4")[:, None].view(np.uint8)
    return framed.reshape(-1).data


def _masked(crc: np.ndarray) -> np.ndarray:
    """As TFRecord stores checksums: rotated, plus a constant; uint32 wraps around."""
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
