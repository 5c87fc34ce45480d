"""The command `schema`."""

import argparse
import json

from pipeline.config.reference import json_schema, markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `schema`."""
    parser.add_argument(
        "--markdown", action="store_true", help="a page to read, not a JSON Schema"
    )


def schema(args: argparse.Namespace) -> None:
    """Prints what keys a config may have."""
    if args.markdown:
        print(markdown(), end="")
    else:
        print(json.dumps(json_schema(), indent=1, ensure_ascii=False, allow_nan=False))
