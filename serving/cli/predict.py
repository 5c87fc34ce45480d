"""The command `predict`."""

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `predict`."""
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8501")
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--signature-name", default="serving_default")
    parser.add_argument(
        "--json", required=True, metavar="FILE",
        help='rows [{...}, ...], columns {...: [...]} or {"instances": [...]}; - reads '
        "standard input",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Asks a server and prints {output: values}."""
    import numpy as np

    from serving.client import Client

    text = sys.stdin.read() if args.json == "-" else Path(args.json).read_text()
    data = json.loads(text)
    if isinstance(data, dict) and isinstance(data.get("instances"), list):
        data = data["instances"]  # a whole body, as curl sends it
    with Client(
        args.url, args.model_name, signature_name=args.signature_name
    ) as client:
        outputs = client.predict(data)
    lists = {name: np.asarray(value).tolist() for name, value in outputs.items()}
    print(json.dumps(lists, default=lambda value: value.decode("utf-8", "replace")))
    return 0
