"""The embedded server: loads models, keeps them fresh, answers over HTTP and gRPC."""

import functools
import logging
import resource
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from serving.batching import Batcher, BatchingConfig
from serving.config import METRICS_PATH, Limits, ModelConfig, read_config_file
from serving.connections import BoundedProtocol
from serving.errors import Code, ServingError
from serving.grpc_api import start_grpc
from serving.model import Model, versions_on_disk
from serving.rest import make_app

_log = logging.getLogger("serving")

_THREADS = 16
_BATCHED_THREADS = 64  # those of a batch wait together
_DRAIN_SECONDS = 30
_KEEP_ALIVE_SECONDS = 75
_SPARE_FILES = 200  # for models, the log, the libraries


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
        port: int. TCP port of REST; 0 takes a free one.
        grpc_port: int. TCP port of gRPC; 0 takes a free one. Defaults to None, no
            gRPC.
        poll_seconds: float. How often to look for new versions; 0 is never again.
        config_file: Path. Where `configs` came from, to be read again when it
            changes. Defaults to None, never.
        config_poll_seconds: float. How often to look for that.
        limits: Limits. What is refused.
        batching: BatchingConfig. How requests run together. Defaults to None: each
            alone.
        metrics_path: str. Where Prometheus reads; "" is nowhere.
        cors: bool. Whether answers allow scripts of other origins.

    Raises:
        StartError: a model has no version that loads, or the port is taken.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        grpc_port: int | None = None,
        poll_seconds: float = 1.0,
        config_file: Path | None = None,
        config_poll_seconds: float = 1.0,
        limits: Limits | None = None,
        batching: BatchingConfig | None = None,
        metrics_path: str = METRICS_PATH,
        cors: bool = False,
    ):
        _check_names(configs)
        for config in configs:
            _check_base_path(config.base_path)
        self._limits = limits or Limits()
        listener = _bind(host, port)  # a taken port is found before the slow part
        shown = f"[{host}]" if ":" in host else host
        self._batcher = Batcher(batching) if batching else None
        self._changing = threading.Lock()  # of the models: by polls and reloads
        self._models = {config.name: self._model(config) for config in configs}
        self._grpc = None
        self.grpc_address = ""
        threads = _BATCHED_THREADS if batching else _THREADS
        try:
            for model in self._models.values():
                _first_load(model)
            if grpc_port is not None:
                self._grpc, bound = _grpc_server(
                    self._models, self.reload, shown, grpc_port, self._limits, threads
                )
                self.grpc_address = f"{shown}:{bound}"
            _listen(listener)  # only now: before, a client would wait for the models
        except BaseException:
            listener.close()
            self._close_models()
            raise
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._stopping = threading.Event()
        app = make_app(
            self._models,
            self._executor,
            self._limits,
            metrics_path=metrics_path,
            cors=cors,
            stopping=self._stopping.is_set,
        )
        self._http = uvicorn.Server(_http_config(app, self._limits))
        self._threads = [
            threading.Thread(target=self._http.run, args=([listener],), daemon=True),
            threading.Thread(target=self._poll, args=(poll_seconds,), daemon=True),
        ]
        if config_file is not None:
            arguments = (config_file, config_poll_seconds)
            self._threads.append(
                threading.Thread(target=self._watch, args=arguments, daemon=True)
            )
        for thread in self._threads:
            thread.start()
        while not self._http.started and self._threads[0].is_alive():
            time.sleep(0.005)
        if not self._http.started:
            self.stop()
            raise StartError(f"The HTTP server ended at once on {self.url}")
        if self._grpc is not None:
            _log.info("gRPC on %s", self.grpc_address)
        _log.info("listening on %s", self.url)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models from now on, and no others.

        Models that stay answer all the time. Nothing changes if a new one does not
        load.

        Args:
            configs: sequence of ModelConfig. What to serve.

        Raises:
            ServingError: a model has no version that loads, or a label is given to
                a version that is not available.
        """
        with self._changing:
            added = {}
            before = {name: model.config for name, model in self._models.items()}
            try:
                _check_names(configs)
                for config in configs:
                    model = self._models.get(config.name)
                    if model is None or model.config.base_path != config.base_path:
                        _check_base_path(config.base_path)
                        model = added[config.name] = self._model(config)
                        _first_load(model)
                    else:
                        model.config = config
                        model.poll()
                    _check_labels(model)
            except (StartError, ServingError) as error:
                for name, model in self._models.items():
                    model.config = before[name]
                    model.poll()
                for model in added.values():
                    model.close()
                if isinstance(error, ServingError):
                    raise
                raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
            gone = self._models.keys() - {config.name for config in configs}
            replaced = [self._models.pop(name) for name in gone]
            replaced += [self._models[name] for name in added if name in self._models]
            self._models.update(added)
            for model in replaced:
                model.close()
        _log.info("serving %s", ", ".join(sorted(self._models)) or "nothing")

    def stop(self) -> None:
        """Stops listening, answers the requests in flight, unloads the models."""
        if self._stopping.is_set():
            return
        _log.info("stopping: answering requests in flight")
        self._stopping.set()
        self._http.should_exit = True
        if self._grpc is not None:
            self._grpc.stop(_DRAIN_SECONDS).wait()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self._close_models()
        _log.info("stopped")

    def _model(self, config: ModelConfig) -> Model:
        timeout_ms = max(int(self._limits.request_seconds * 1000), 1)
        return Model(config, batcher=self._batcher, timeout_ms=timeout_ms)

    def _poll(self, seconds: float) -> None:
        while seconds > 0 and not self._stopping.wait(seconds):
            with self._changing:
                for model in self._models.values():
                    try:
                        model.poll()
                    except Exception:  # the next poll may find things in order
                        _log.exception("%s: polling failed", model.config.name)

    def _watch(self, file: Path, seconds: float) -> None:
        seen = _content(file)
        while not self._stopping.wait(seconds):
            content = _content(file)
            if content in (seen, None):
                continue
            seen = content
            try:
                self.reload(read_config_file(file))
            except (ValueError, OSError, ServingError) as error:
                _log.error("%s is not followed: %s", file, error)

    def _close_models(self) -> None:
        for model in self._models.values():
            model.close()
        if self._batcher is not None:
            self._batcher.close()


def _http_config(app: Any, limits: Limits) -> uvicorn.Config:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    if 0 < most < limits.max_connections:
        _log.warning("the limit on open files allows only %d connections", most)
        limits = Limits(**{**vars(limits), "max_connections": most})
    return uvicorn.Config(
        app,
        http=functools.partial(BoundedProtocol, limits=limits, idle={}),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _grpc_server(
    models: Mapping[str, Model],
    reload: Any,
    host: str,
    port: int,
    limits: Limits,
    threads: int,
) -> Any:
    try:
        return start_grpc(models, reload, f"{host}:{port}", limits, threads)
    except RuntimeError as error:
        raise StartError(
            f"Cannot listen on {host}:{port} for gRPC. Choose another port or host"
        ) from error


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # it is being replaced, or away: what is served stays
        return None


def _check_names(configs: Sequence[ModelConfig]) -> None:
    names = [config.name for config in configs]
    if len(set(names)) < len(names):
        raise StartError(f"Model names must differ. Received: {names}")


def _check_labels(model: Model) -> None:
    for version in model.config.labels.values():
        if version not in model.available():
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model "
                f"{model.config.name}, which is not currently available for inference",
            )


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
