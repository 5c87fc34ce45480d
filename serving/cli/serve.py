"""`python -m serving serve`: its flags, TF Serving's own among them."""

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from serving.cli.errors import fail
from serving.quiet import import_tensorflow_quietly
from serving.workers.supervisor import Worker, run_workers, stop_on_signals


def _on_or_off(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"true or false, not {text!r}")
    return known[text.lower()]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text!r}")
    return int(text)


_SWITCH = {
    "type": _on_or_off, "nargs": "?", "const": True, "default": False,
    "metavar": "true|false",
}  # fmt: skip


def own_spelling(word: str) -> str:
    """Makes `--model-name=x` of TF Serving's `--model_name=x`."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def add_arguments(serve: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    source = serve.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model-base-path", type=Path, help="directory of the versions 1, 2 ..."
    )
    source.add_argument(
        "--model-config-file", type=Path, help="TF Serving's model_config_list file"
    )
    serve.add_argument(
        "--model-name", default="model", help="name in the URL (default: model)"
    )
    serve.add_argument(
        "--rest-port", "--rest-api-port", type=int, default=8501, metavar="PORT",
        help="TCP port of REST (default: 8501; 0 takes a free one)",
    )  # fmt: skip
    serve.add_argument(
        "--port", "--grpc-port", type=int, metavar="PORT",
        help="TCP port of gRPC, such as 8500 (default: no gRPC; 0 takes a free one)",
    )  # fmt: skip
    serve.add_argument(
        "--host", default="127.0.0.1", help="address (default: loopback only)"
    )
    serve.add_argument(
        "--poll-seconds", "--file-system-poll-wait-seconds", type=float, default=1.0,
        metavar="S",
        help="how often to look for new versions (default: 1)",
    )  # fmt: skip
    serve.add_argument(
        "--config-poll-seconds", "--model-config-file-poll-wait-seconds", type=float,
        default=0.0, metavar="S",
        help="how often to look whether the config file changed (default: 0, never)",
    )  # fmt: skip
    serve.add_argument(
        "--enable-batching", **_SWITCH,
        help="run requests that arrive together together",
    )  # fmt: skip
    serve.add_argument(
        "--batching-parameters-file", type=Path, metavar="FILE",
        help="TF Serving's BatchingParameters (default: its defaults)",
    )  # fmt: skip
    serve.add_argument(
        "--monitoring-config-file", type=Path, metavar="FILE",
        help="TF Serving's MonitoringConfig (default: metrics at its default path)",
    )  # fmt: skip
    serve.add_argument(
        "--rest-api-timeout-in-ms", type=float, default=30_000, metavar="MS",
        help="longest time for an answer; above, 504 (default: 30000)",
    )  # fmt: skip
    serve.add_argument(
        "--rest-api-enable-cors-support", **_SWITCH,
        help="allow scripts of other origins to ask",
    )  # fmt: skip
    serve.add_argument(
        "--workers", type=_positive, default=1, metavar="N",
        help="processes that answer, each with the models in its memory (default: 1)",
    )  # fmt: skip
    serve.add_argument(
        "--max-body-mb", type=float, default=32.0, metavar="MIB",
        help="longest request body; above, 413 (default: 32)",
    )  # fmt: skip
    serve.add_argument(
        "--max-in-flight", type=int, default=128, metavar="N",
        help="requests at work or waiting; above, 503 (default: 128)",
    )  # fmt: skip
    serve.add_argument(
        "--max-connections", type=int, default=1000, metavar="N",
        help="open connections; above, the longest idle is closed (default: 1000)",
    )  # fmt: skip
    serve.add_argument(
        "--allow-version-labels-for-unavailable-models", **_SWITCH,
        help="give labels that are not in use to versions that are not available, as "
        "at the start none is",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit status.

    Raises:
        KeyboardInterrupt: SIGINT has come, and what was in flight is answered.
    """
    if args.workers == 1:
        return _serve(args)
    _log_to_stderr()
    return run_workers(args, _serve)


def _log_to_stderr(prefix: str = "") -> None:
    logging.basicConfig(
        format=f"%(asctime)s %(levelname)s {prefix}%(message)s", stream=sys.stderr
    )
    logging.getLogger("serving").setLevel(logging.INFO)


def _serve(args: argparse.Namespace, worker: Worker | None = None) -> int:
    # Else TensorFlow keeps the memory of an unloaded version for itself; if the next
    # one does not fit into it, there are three.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    import_tensorflow_quietly()
    _log_to_stderr(f"worker {worker.index}: " if worker else "")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from serving.config.batching import read_batching_file
    from serving.config.server import (
        Limits,
        ModelConfig,
        read_config_file,
        read_monitoring_file,
    )
    from serving.server import Server, StartError
    from serving.workers.peers import Peers

    _raise_file_limit()
    count = args.workers
    gc.freeze()  # TensorFlow's objects, or a collection stops all threads for 0.2 s
    try:
        if args.batching_parameters_file and not args.enable_batching:
            raise ValueError(
                "--batching-parameters-file needs --enable-batching, or nothing is "
                "batched"
            )
        if args.model_config_file:
            configs = read_config_file(args.model_config_file)
        else:
            configs = [ModelConfig(args.model_name, args.model_base_path)]
        server = Server(
            configs,
            host=args.host,
            port=args.rest_port,
            grpc_port=args.port,
            poll_seconds=args.poll_seconds,
            config_file=args.model_config_file if args.config_poll_seconds else None,
            config_poll_seconds=args.config_poll_seconds,
            limits=Limits(
                max_body_bytes=int(args.max_body_mb * 2**20),
                max_in_flight=-(-args.max_in_flight // count),  # its part, rounded up
                max_connections=-(-args.max_connections // count),
                request_seconds=args.rest_api_timeout_in_ms / 1000,
            ),
            batching=(
                read_batching_file(args.batching_parameters_file)
                if args.enable_batching
                else None
            ),
            cors=args.rest_api_enable_cors_support,
            peers=(
                Peers(worker.index, Path(worker.folder), worker.count, worker.key)
                if worker
                else None
            ),
            allow_unavailable_labels=args.allow_version_labels_for_unavailable_models,
            **(
                {"metrics_path": read_monitoring_file(args.monitoring_config_file)}
                if args.monitoring_config_file
                else {}
            ),
        )
    except (StartError, ValueError, OSError) as error:
        return fail(error)
    stop = threading.Event()
    come = stop_on_signals(stop)
    if worker:
        worker.end_with_parent(stop)
        worker.parent.send("ready")
    with server:
        stop.wait()
    if signal.SIGINT in come and not worker:
        raise KeyboardInterrupt
    return 0


def _raise_file_limit() -> None:
    """Allows as many open connections as the system does."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # what there is will do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
