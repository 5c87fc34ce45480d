"""The commands that release models: publish, rollback, label."""

import argparse
from pathlib import Path


def add_publish(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `publish`."""
    parser.add_argument("saved_model", type=Path, help="the directory to publish")
    parser.add_argument("--model-base-path", type=Path, required=True)
    parser.add_argument(
        "--keep", type=int, default=3, help="versions to keep (default: 3)"
    )
    _add_config_file(parser, required=False)
    parser.add_argument(
        "--label", action="append", default=[], help="label for the version, such as "
        "canary; may be repeated",
    )  # fmt: skip


def add_rollback(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rollback`."""
    parser.add_argument(
        "--model-base-path", type=Path,
        help="without a config file: publish the older version anew",
    )  # fmt: skip
    _add_config_file(parser, required=False)
    parser.add_argument(
        "--to", type=int, metavar="VERSION", help="default: the version before"
    )


def add_label(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `label`."""
    parser.add_argument(
        "labels", nargs="+", metavar="LABEL=VERSION",
        help="such as stable=4; LABEL= takes the label away",
    )  # fmt: skip
    _add_config_file(parser, required=True)
    parser.add_argument(
        "--url", help="a server of this file: wait until it has loaded the versions"
    )
    parser.add_argument(
        "--wait-seconds", type=float, default=60.0, help="at most (default: 60)"
    )


def publish(args: argparse.Namespace) -> str:
    """Publishes a version; returns where."""
    from serving.publish import publish, publish_labelled

    if not args.model_config_file:
        if args.label:
            raise ValueError("A label stands in a file; give --model-config-file too")
        return str(publish(args.saved_model, args.model_base_path, keep=args.keep))
    target = publish_labelled(
        args.saved_model,
        args.model_base_path,
        args.model_config_file,
        args.model_name,
        args.label,
        keep=args.keep,
    )
    return str(target)


def rollback(args: argparse.Namespace) -> str:
    """Goes back to an older version; returns what is served now."""
    from serving import labels, rolled_back
    from serving.publish import rollback, versions

    if args.model_config_file:
        on_disk = versions(args.model_base_path) if args.model_base_path else ()
        version = labels.rollback(
            args.model_config_file, args.model_name, args.to, on_disk
        )
        if args.model_base_path:  # which the file may name as the server sees it
            rolled_back.mark(args.model_base_path, version)
        return f"{args.model_name}: version {version}"
    if not args.model_base_path:
        raise ValueError("Give --model-config-file or --model-base-path")
    return str(rollback(args.model_base_path, args.to))


def label(args: argparse.Namespace) -> str:
    """Moves labels; returns all of the model."""
    from serving import labels
    from serving.client import Client, RequestError

    wanted = dict(_read_label(text) for text in args.labels)
    file, name = args.model_config_file, args.model_name
    versions = {version for version in wanted.values() if version is not None}
    before = {*labels.served(file, name)}
    if new := versions - before:
        labels.assign(file, name, {}, add=before | new)
    if args.url:
        try:
            with Client(args.url, name) as client:
                for version in versions:
                    labels.wait(client.status, version, args.wait_seconds)
        except (ValueError, RequestError):
            labels.assign(file, name, {}, add=before, drop=new)  # as it was
            raise
    found = labels.assign(file, name, wanted)
    return " ".join(f"{label}={version}" for label, version in found.items())


def _read_label(text: str) -> tuple[str, int | None]:
    name, equals, version = text.partition("=")
    if not (name and equals and (version.isdigit() or not version)):
        raise ValueError(
            f"A label is given as LABEL=VERSION, such as stable=4. Received: {text!r}"
        )
    return name, int(version) if version else None


def _add_config_file(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--model-config-file", type=Path, required=required,
        help="TF Serving's model_config_list file, to be changed",
    )  # fmt: skip
    parser.add_argument(
        "--model-name", default="model", help="name in that file (default: model)"
    )
