"""The commands that release models: publish, rollback, label, check.

With a model config file, each goes in the steps of `serving.release.steps`. Exit
status: 0 where all is done and, if servers are named, they serve it; 2 where something
is wrong, with the reason; 3 where a step is written and the next one is to be taken.
"""

import argparse
import functools
import re
import sys
from pathlib import Path

from serving.release import publish as copies
from serving.release import releases
from serving.release.servers import NotServedError, Servers


def add_publish(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `publish`."""
    parser.add_argument("saved_model", type=Path, help="the directory to publish")
    parser.add_argument("--model-base-path", type=Path, required=True)
    parser.add_argument(
        "--keep", type=int, default=3, help="versions to keep (default: 3)"
    )
    add_config_file(parser, required=False)
    parser.add_argument(
        "--label", action="append", default=[], help="label for the version, such as "
        "canary; may be repeated",
    )  # fmt: skip
    _add_steps(parser)


def add_rollback(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rollback`."""
    parser.add_argument(
        "--model-base-path", type=Path,
        help="where the versions are, as seen from here; without a config file, the "
        "older one is published anew",
    )  # fmt: skip
    add_config_file(parser, required=False)
    parser.add_argument(
        "--to", type=int, metavar="VERSION", help="default: the version before"
    )
    _add_steps(parser, drain=False)


def add_label(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `label`."""
    parser.add_argument(
        "labels", nargs="+", metavar="LABEL=VERSION",
        help="such as stable=4; LABEL= takes the label away",
    )  # fmt: skip
    add_config_file(parser, required=True)
    parser.add_argument(
        "--model-base-path", type=Path, help="where the versions are, as seen from here"
    )
    _add_steps(parser)


def publish(args: argparse.Namespace) -> int:
    """Publishes a version; prints where."""
    if not args.model_config_file:
        if args.label:
            raise ValueError("A label stands in a file; give --model-config-file too")
        target = copies.publish(args.saved_model, args.model_base_path, keep=args.keep)
        _confirm(args, target)
        print(target)
        return 0
    print(
        releases.publish(_release(args), args.saved_model, args.label, keep=args.keep)
    )
    return 0


def rollback(args: argparse.Namespace) -> int:
    """Goes back to an older version; prints which."""
    if not args.model_config_file:
        if not args.model_base_path:
            raise ValueError("Give --model-config-file or --model-base-path")
        confirm = functools.partial(_confirm, args)
        print(copies.rollback(args.model_base_path, args.to, confirm))
        return 0
    version = releases.roll_back(_release(args), args.to)
    print(f"{args.model_name}: version {version}")
    return 0


def label(args: argparse.Namespace) -> int:
    """Moves labels; prints all of the model."""
    pairs = [_read_label(text) for text in args.labels]
    wanted = dict(pairs)
    if len(wanted) < len(pairs):
        raise ValueError(f"A label is given once. Received: {' '.join(args.labels)}")
    found = releases.move_labels(_release(args), wanted)
    print(" ".join(f"{k}={version}" for k, version in found.items()) or "no labels")
    return 0


def _release(args: argparse.Namespace) -> releases.Release:
    return releases.Release(
        args.model_config_file,
        args.model_name,
        _servers(args),
        args.model_base_path,
        getattr(args, "drain_seconds", 0.0),
        args.unchecked,
        _say,
    )


def _confirm(args: argparse.Namespace, target: Path) -> None:
    """Waits until the servers of a base path serve its newest version."""
    servers = _servers(args)
    if not servers.urls:
        return
    try:
        servers.wait_for_versions([int(target.name)])
        for line in servers.wait_for([int(target.name)], {}, exactly=False):
            _say(line)
    except NotServedError as error:
        raise NotServedError(
            f"{error}. {target} is there all the same, as the newest version: remove "
            "it, or publish a better one"
        ) from error


def _servers(args: argparse.Namespace) -> Servers:
    return Servers(args.url, args.model_name, args.wait_seconds, args.after_write)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _read_label(text: str) -> tuple[str, int | None]:
    name, equals, version = text.partition("=")
    is_number = version.isascii() and version.isdigit() and int(version) < 2**63
    is_name = re.fullmatch(r"[A-Za-z0-9_.-]+", name)  # as it stands in a URL
    if not (is_name and equals and (is_number or not version)):
        raise ValueError(
            f"A label is given as LABEL=VERSION, such as stable=4. Received: {text!r}"
        )
    return name, int(version) if version else None


def add_config_file(parser: argparse.ArgumentParser, required: bool) -> None:
    """Adds the flags that name a model config file and a model in it."""
    parser.add_argument(
        "--model-config-file", type=Path, required=required,
        help="TF Serving's model_config_list file",
    )  # fmt: skip
    parser.add_argument(
        "--model-name", default="model", help="name in that file (default: model)"
    )


def _add_steps(parser: argparse.ArgumentParser, drain: bool = True) -> None:
    parser.add_argument(
        "--url", action="append", default=[],
        help="a server that reads the file, such as http://127.0.0.1:8501; to be given "
        "for each of them. Without, only the next step is written, and the status is 3",
    )  # fmt: skip
    parser.add_argument(
        "--wait-seconds", type=float, default=120.0,
        help="how long a server may take to follow (default: 120)",
    )  # fmt: skip
    if drain:
        parser.add_argument(
            "--drain-seconds", type=float, default=10.0,
            help="how long versions without a label serve on, for callers that name "
            "them by number (default: 10)",
        )  # fmt: skip
    parser.add_argument(
        "--after-write", default="", metavar="COMMAND",
        help="run after every change of the file, such as 'kubectl apply -k FOLDER'",
    )  # fmt: skip
    parser.add_argument(
        "--unchecked", action="store_true",
        help="write the next step without asking a server: you have seen that the "
        "versions of the last one are AVAILABLE",
    )  # fmt: skip
