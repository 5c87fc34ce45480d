"""Command line: `python -m serving COMMAND`.

| command   |                                                       |
|-----------|-------------------------------------------------------|
| serve     | the embedded server                                   |
| predict   | asks a running server                                 |
| publish   | adds a version under a base path                      |
| rollback  | goes back to an older version                         |
| label     | gives labels such as stable and canary to versions    |
| check     | whether servers serve what a model config file asks for |
| warmup    | writes warm-up requests for every signature of a model |
| loadtest  | latency and errors at a given rate of requests        |
| compare   | two versions on the same requests, or two sets of rows |
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.cli import installation

_Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake of the caller ends in one line and status 2."""
    words = sys.argv[1:] if argv is None else argv
    try:
        parser = _parser()
        from serving.cli.serve import own_spelling

        args = parser.parse_args([own_spelling(word) for word in words])
        command: _Command = args.command
        return command(args)
    except ModuleNotFoundError as error:
        return _fail(installation.missing(error, "serving"))


def _predict(args: argparse.Namespace) -> int:
    import numpy as np

    from serving.client import Client, RequestError

    try:
        text = sys.stdin.read() if args.json == "-" else Path(args.json).read_text()
        data = json.loads(text)
        if isinstance(data, dict) and isinstance(data.get("instances"), list):
            data = data["instances"]  # a whole body, as curl sends it
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


def _guarded(work: Callable[[argparse.Namespace], int]) -> _Command:
    """A command whose errors are one line each."""

    def command(args: argparse.Namespace) -> int:
        from serving.client.retry import RequestError

        try:
            return work(args)
        except (ValueError, OSError) as error:
            return _fail(error)
        except RequestError as error:
            return _fail(error, status=1)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 130

    return command


def _fail(error: Exception | str, status: int = 2) -> int:
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    # Here, so that `main` can say what is missing.
    from serving.cli import check as check_command
    from serving.cli import compare as compare_command
    from serving.cli import loadtest as loadtest_command
    from serving.cli import release
    from serving.cli import serve as serve_command
    from serving.cli import warmup as warmup_command

    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve exported models, and ask them."
    )
    parser.add_argument("--version", action="version", version=installation.version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _add(commands, "serve", serve_command.run, "run the embedded REST server")
    serve_command.add_arguments(serve)

    predict = _add(commands, "predict", _predict, "ask a running server")
    predict.add_argument("--url", required=True, help="such as http://127.0.0.1:8501")
    predict.add_argument("--model-name", required=True)
    predict.add_argument("--signature-name", default="serving_default")
    predict.add_argument(
        "--json", required=True, metavar="FILE",
        help='rows [{...}, ...], columns {...: [...]} or {"instances": [...]}; - reads '
        "standard input",
    )  # fmt: skip

    for name, text in (
        ("publish", "add a version under a base path"),
        ("rollback", "go back to an older version"),
        ("label", "give labels to versions"),
    ):
        command = _guarded(getattr(release, name))
        added = _add(commands, name, command, text)
        getattr(release, f"add_{name}")(added)

    check = _add(
        commands, "check", _guarded(check_command.run), "whether servers serve what a "
        "model config file asks for",
    )  # fmt: skip
    check_command.add_arguments(check)

    warmup = _add(
        commands, "warmup", _guarded(warmup_command.run), "write warm-up requests for "
        "every signature of an exported model",
    )  # fmt: skip
    warmup_command.add_arguments(warmup)

    loadtest = _add(
        commands, "loadtest", loadtest_command.run, "measure a server under load"
    )
    loadtest_command.add_arguments(loadtest)

    compare = _add(
        commands, "compare", compare_command.run, "compare two versions, or two sets"
        " of rows",
    )  # fmt: skip
    compare_command.add_arguments(compare)
    return parser


def _add(
    commands: argparse._SubParsersAction, name: str, run: _Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
