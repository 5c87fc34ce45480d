"""A place in an object store is written by one machine at a time.

`.lock` there says which one, and when it was last heard of: it says so every minute. A
machine that is not heard of for five, as it was killed, loses the place to the next.
On one machine, locks of files do the same, and the mirror's own `.lock` is taken over.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage import mirror, remote

_LOCK = ".lock"
_OWNER = ".owner"  # of the mirror: who it is
_EVERY, _LOST = 60.0, 300.0  # seconds


@contextlib.contextmanager
def held(place: Path) -> Iterator[None]:
    """Holds a place of a store until the block ends; a local one is left alone.

    Args:
        place: Its folder in the mirror, of which the caller has the local lock.

    Raises:
        PipelineError: Another machine holds it.
    """
    at = mirror.url(place)
    if at is None:
        yield
        return
    url, owner = f"{at}/{_LOCK}", _owner(place)
    _take(url, owner)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(url, owner, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(PipelineError):  # it is lost in time
            if (_read(url) or {}).get("owner") == owner:
                remote.delete([url])


def _take(url: str, owner: str) -> None:
    while not remote.create(url, _text(owner)):
        found = _read(url)
        if found is None:
            continue  # it was given back just now
        silent = time.time() - found["time"]
        if found["owner"] != owner and silent < _LOST:
            raise PipelineError(
                f"{url.removesuffix(f'/{_LOCK}')} is used by a command on "
                f"{found['host']}, which was heard of {max(silent, 0):.0f} s ago. Wait "
                f"for it; if it was killed, for {_LOST - silent:.0f} s, or delete {url}"
            )
        remote.delete([url])


def _beat(url: str, owner: str, ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        with contextlib.suppress(PipelineError):  # the next one may get through
            if (_read(url) or {}).get("owner") != owner:
                return  # the record will not take what this one writes
            remote.write(url, _text(owner))


def _read(url: str) -> dict | None:
    content = remote.read(url)
    return None if content is None else json.loads(content)


def _text(owner: str) -> bytes:
    told = {"owner": owner, "host": socket.gethostname(), "time": time.time()}
    return json.dumps(told).encode()


def _owner(place: Path) -> str:
    file = place / _OWNER
    place.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        part = file.with_name(f"{_OWNER}-{uuid.uuid4().hex}")
        part.write_text(uuid.uuid4().hex)
        os.replace(part, file)
    return file.read_text()
