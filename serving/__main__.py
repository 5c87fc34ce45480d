"""Command line: `python -m serving serve | predict | publish`."""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.quiet import import_tensorflow

_Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake of the caller ends in one line and status 2."""
    args = _parser().parse_args(argv)
    command: _Command = args.command
    return command(args)


def _serve(args: argparse.Namespace) -> int:
    import_tensorflow()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("serving").setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from serving.config import ModelConfig, read_config_file
    from serving.server import Server, StartError

    try:
        if args.model_config_file:
            configs = read_config_file(args.model_config_file)
        else:
            configs = [ModelConfig(args.model_name, args.model_base_path)]
        server = Server(
            configs,
            host=args.host,
            port=args.rest_port,
            poll_seconds=args.poll_seconds,
            max_body_bytes=int(args.max_body_mb * 2**20),
        )
    except (StartError, ValueError, OSError) as error:
        return _fail(error)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        stop.wait()
    return 0


def _predict(args: argparse.Namespace) -> int:
    import numpy as np

    from serving.client import Client, RequestError

    try:
        text = sys.stdin.read() if args.json == "-" else Path(args.json).read_text()
        data = json.loads(text)
        with Client(
            args.url, args.model_name, signature_name=args.signature_name
        ) as client:
            outputs = client.predict(data)
    except (OSError, ValueError) as error:
        return _fail(error)
    except RequestError as error:
        return _fail(error, status=1)
    lists = {name: np.asarray(value).tolist() for name, value in outputs.items()}
    print(json.dumps(lists, default=lambda value: value.decode("utf-8", "replace")))
    return 0


def _publish(args: argparse.Namespace) -> int:
    from serving.publish import publish

    try:
        target = publish(args.saved_model, args.model_base_path, keep=args.keep)
    except (ValueError, OSError) as error:
        return _fail(error)
    print(target)
    return 0


def _fail(error: Exception, status: int = 2) -> int:
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve exported models, and ask them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _add(commands, "serve", _serve, "run the embedded REST server")
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
        "--rest-port", type=int, default=8501, help="TCP port (default: 8501)"
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address (default: loopback only)"
    )
    serve.add_argument(
        "--poll-seconds", type=float, default=1.0,
        help="how often to look for new versions (default: 1)",
    )  # fmt: skip
    serve.add_argument(
        "--max-body-mb", type=float, default=32.0,
        help="longest request body, in MiB (default: 32)",
    )  # fmt: skip

    predict = _add(commands, "predict", _predict, "ask a running server")
    predict.add_argument("--url", required=True, help="such as http://127.0.0.1:8501")
    predict.add_argument("--model-name", required=True)
    predict.add_argument("--signature-name", default="serving_default")
    predict.add_argument(
        "--json", required=True, metavar="FILE",
        help="rows [{...}, ...] or columns {...: [...]}; - reads standard input",
    )  # fmt: skip

    publish = _add(commands, "publish", _publish, "add a version under a base path")
    publish.add_argument("saved_model", type=Path, help="the directory to publish")
    publish.add_argument("--model-base-path", type=Path, required=True)
    publish.add_argument(
        "--keep", type=int, default=3, help="versions to keep (default: 3)"
    )
    return parser


def _add(
    commands: argparse._SubParsersAction, name: str, run: _Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
