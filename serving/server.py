"""The embedded server: loads models, keeps them fresh, answers over HTTP."""

import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn

from serving.config import ModelConfig
from serving.model import Model, versions_on_disk
from serving.rest import make_app

_log = logging.getLogger("serving")

DEFAULT_MAX_BODY_BYTES = 32 * 2**20
_THREADS = 16
_DRAIN_SECONDS = 30


class StartError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


def start(
    model_base_path: str | Path,
    name: str,
    *,
    port: int = 0,
    versions: int | str | tuple[int, ...] = 1,
    labels: Mapping[str, int] | None = None,
    poll_seconds: float = 1.0,
) -> "Server":
    """Serves one model on the loopback interface, from a thread of this process.

    Args:
        model_base_path: path. The directory whose numeric children are the versions.
        name: str. The model's name in the URL.
        port: int. TCP port; 0, the default, takes a free one.
        versions: int, "all" or tuple of int. The newest N versions, every one, or
            exactly these. Defaults to 1, the newest alone.
        labels: dict. Version of each label that a URL may use. Defaults to none.
        poll_seconds: float. How often to look for new versions. Defaults to 1.

    Returns:
        Server, ready to answer; a context manager that stops it at the end.

    Raises:
        StartError: there is no version, none of them loads, or the port is taken.

    Example:
        ```python
        with serving.start("models/feed", "feed") as server:
            requests.get(server.url + "/v1/models/feed")
        ```
    """
    config = ModelConfig(name, Path(model_base_path), versions, labels or {})
    return Server([config], port=port, poll_seconds=poll_seconds)


class Server:
    """A running server of one or several models.

    Args:
        configs: sequence of ModelConfig. What to serve.
        host: str. Address to listen on. Defaults to loopback: there is no
            authentication, so opening it to a network is a decision.
        port: int. TCP port; 0 takes a free one.
        poll_seconds: float. How often to look for new versions.
        max_body_bytes: int. Longest request body accepted.

    Raises:
        StartError: a model has no version that loads, or the port is taken.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        poll_seconds: float = 1.0,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    ):
        names = [config.name for config in configs]
        if len(set(names)) < len(names):
            raise StartError(f"Model names must differ. Received: {names}")
        for config in configs:
            _check_base_path(config.base_path)
        listener = _bind(host, port)  # a taken port is found before the slow part
        self._models = {config.name: Model(config) for config in configs}
        try:
            for model in self._models.values():
                _first_load(model)
            _listen(listener)  # only now: before, a client would wait for the models
        except BaseException:
            listener.close()
            self._close_models()
            raise
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{bound}"
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="predict")
        self._http = uvicorn.Server(
            uvicorn.Config(
                make_app(self._models, self._executor, max_body_bytes),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._http.run, args=([listener],), daemon=True),
            threading.Thread(target=self._poll, args=(poll_seconds,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        while not self._http.started and self._threads[0].is_alive():
            time.sleep(0.005)
        if not self._http.started:
            self.stop()
            raise StartError(f"The HTTP server ended at once on {self.url}")
        _log.info("listening on %s", self.url)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops listening, answers the requests in flight, unloads the models."""
        if self._stopping.is_set():
            return
        _log.info("stopping: answering requests in flight")
        self._stopping.set()
        self._http.should_exit = True
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self._close_models()
        _log.info("stopped")

    def _poll(self, seconds: float) -> None:
        while not self._stopping.wait(seconds):
            for model in self._models.values():
                try:
                    model.poll()
                except Exception:  # the next poll may find things in order
                    _log.exception("%s: polling failed", model.config.name)

    def _close_models(self) -> None:
        for model in self._models.values():
            model.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on: 40 ms for every answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StartError(
            f"Cannot listen on {host}:{port}: {error}. Choose another port or host"
        ) from error
    return listener


def _listen(listener: socket.socket) -> None:
    try:
        listener.listen(1024)
    except OSError as error:  # taken by another process since it was bound
        raise StartError(f"Cannot listen: {error}. Choose another port") from error


def _check_base_path(path: Path) -> None:
    if not path.is_dir():
        raise StartError(f"The model base path is no directory: {path}")
    if (path / "saved_model.pb").exists():
        raise StartError(
            f"{path} is a SavedModel itself; the base path is the directory above "
            "it, whose children are named by version: 1, 2 ..."
        )
    if not versions_on_disk(path):
        raise StartError(
            f"The model base path holds no version, a directory named 1, 2 ...: {path}"
        )


def _first_load(model: Model) -> None:
    model.poll()
    if not model.available():
        reasons = "; ".join(
            f"version {number}: {error.message}"
            for number, _, error in model.states()
            if error
        )
        raise StartError(
            f"No version of model {model.config.name!r} can be served. "
            + (reasons or f"Wanted {model.config.versions}, none is there")
        )
