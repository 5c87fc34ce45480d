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

import grpc
import uvicorn

from serving import metrics
from serving.config.batching import BatchingConfig
from serving.config.server import METRICS_PATH, Limits, ModelConfig
from serving.grpc.services import start_grpc
from serving.listeners import bind
from serving.models.batching import Batcher
from serving.models.manager import (
    ServedModels,
    StartError,
    check_base_paths,
    check_names,
)
from serving.models.model import Model
from serving.rest.app import App, make_app
from serving.rest.connections import BoundedProtocol
from serving.workers.peers import Peers, SharedModels

_log = logging.getLogger("serving")

_THREADS = 16
_BATCHED_THREADS = 64  # those of a batch wait together
_DRAIN_SECONDS = 30
_SPARE_FILES = 200  # for models, the log, the libraries


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
    return Server(
        [config],
        port=port,
        poll_seconds=poll_seconds,
        allow_unavailable_labels=bool(labels),
    )


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
        allow_unavailable_labels: bool. Whether a label that is not in use yet may be
            given to a version that is not available, as at the start none is.
        peers: Peers. The other workers of this server, which share its ports.
            Defaults to None: it is alone.

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
        allow_unavailable_labels: bool = False,
        peers: Peers | None = None,
    ):
        check_names(configs)
        check_base_paths(configs)
        limits = limits or Limits()
        # Here, as a taken port is to be found before the slow part.
        listener = _bind(host, port, peers is not None)
        shown = f"[{host}]" if ":" in host else host
        self._batcher = Batcher(batching) if batching else None
        self._models = None
        self._grpc = None
        self.grpc_address = ""
        threads = _BATCHED_THREADS if batching else _THREADS
        make_model = functools.partial(
            Model,
            batcher=self._batcher,
            timeout_ms=max(int(limits.request_seconds * 1000), 1),
        )
        try:
            if peers is None:
                self._models = ServedModels(
                    configs, make_model, allow_unavailable_labels
                )
            else:
                self._models = SharedModels(
                    configs, make_model, allow_unavailable_labels, peers
                )
                if peers.index:
                    config_file = None  # the first worker follows it for all
            if grpc_port is not None:
                self._grpc, bound = _grpc_server(
                    self._models, shown, grpc_port, limits, threads, peers is not None
                )
                self.grpc_address = f"{shown}:{bound}"
            _listen(listener)  # only now: before, a client would wait for the models
        except BaseException:
            listener.close()
            if self._grpc is not None:
                self._grpc.stop(None)
            self._close_models()
            raise
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._stopping = threading.Event()
        app = make_app(
            self._models,
            self._executor,
            limits,
            metrics_path=metrics_path,
            metrics_page=peers.metrics_page if peers else metrics.page,
            cors=cors,
            stopping=self._stopping.is_set,
        )
        self._http = uvicorn.Server(_http_config(app, limits))
        self._threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, *arguments in (
                (self._http.run, [listener]),
                (self._models.poll, poll_seconds, self._stopping),
                (self._models.follow, config_file, config_poll_seconds, self._stopping),
            )
            if arguments[0] is not None
        ]
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

    def stop(self) -> None:
        """Stops listening, answers the requests in flight, unloads the models."""
        if self._stopping.is_set():
            return
        self._stopping.set()  # whoever reads the line can count on it
        _log.info("stopping: answering requests in flight")
        self._http.should_exit = True
        if self._grpc is not None:
            self._grpc.stop(_DRAIN_SECONDS).wait()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self._close_models()
        _log.info("stopped")

    def _close_models(self) -> None:
        if self._models is not None:
            self._models.close()
        if self._batcher is not None:
            self._batcher.close()


def _http_config(app: App, limits: Limits) -> uvicorn.Config:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    if 0 < most < limits.max_connections:
        _log.warning("the limit on open files allows only %d connections", most)
        limits = Limits(**{**vars(limits), "max_connections": most})
    return uvicorn.Config(
        app,
        loop="asyncio",  # which reads before it looks at the clock, as we count on
        http=functools.partial(BoundedProtocol, limits=limits, idle={}),
        lifespan="off",
        proxy_headers=False,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _grpc_server(
    models: ServedModels,
    host: str,
    port: int,
    limits: Limits,
    threads: int,
    share_port: bool,
) -> tuple[grpc.Server, int]:
    try:
        return start_grpc(models, f"{host}:{port}", limits, threads, share_port)
    except RuntimeError as error:
        raise StartError(
            f"Cannot listen on {host}:{port} for gRPC. Choose another port or host"
        ) from error


def _bind(host: str, port: int, share: bool) -> socket.socket:
    try:
        return bind(host, port, share=share)
    except OSError as error:
        raise StartError(str(error)) from error


def _listen(listener: socket.socket) -> None:
    try:
        listener.listen(1024)
    except OSError as error:  # taken by another process since it was bound
        raise StartError(f"Cannot listen: {error}. Choose another port") from error
