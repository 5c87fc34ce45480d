"""The command `compare`."""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_MODEL = re.compile(
    r"(?P<server>https?://[^/]+)/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?/?"
)
_BATCH = 200  # rows a request
# Option, the figure it limits, and what it is told of.
_LIMITS = {
    "max_difference": ("max_difference", "score"),
    "max_mean_difference": ("mean_difference", "score"),
    "max_distance": ("distance", "feature or score"),
    "max_mismatches": ("different", "feature"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `compare`."""
    parser.add_argument(
        "--model", action="append", required=True, metavar="URL",
        help="such as http://127.0.0.1:8501/v1/models/shop/labels/stable; once or "
        "twice",
    )  # fmt: skip
    parser.add_argument(
        "--rows", type=Path, required=True, metavar="FILE",
        help="logged requests or rows: .json, .jsonl or .parquet",
    )  # fmt: skip
    parser.add_argument(
        "--reference", type=Path, metavar="FILE",
        help="other rows, such as those of training, to compare the features with",
    )  # fmt: skip
    parser.add_argument(
        "--key", metavar="COLUMN",
        help="compare rows and reference one by one where this column is the same",
    )  # fmt: skip
    parser.add_argument("--signature-name", default="serving_default")
    for option, (figure, of) in _LIMITS.items():
        parser.add_argument(
            f"--{option.replace('_', '-')}", type=float, metavar="LIMIT",
            help=f"exit with status 1 where {figure} of a {of} is above",
        )  # fmt: skip
    parser.set_defaults(status_if_refused=2)


def run(args: argparse.Namespace) -> int:
    """Prints what differs; status 1 if something is above a limit."""
    above = []
    for title, table in list(_tables(args)):  # all of them, or none is printed
        print(_text(title, table))
        for option, (figure, _) in _LIMITS.items():
            limit = getattr(args, option)
            for name, figures in table.items():
                # NaN is above every limit.
                if limit is not None and figure in figures:
                    if not figures[figure] <= limit:
                        above.append((name, figure, figures[figure], limit))
    for name, figure, value, limit in above:
        print(f"above the limit: {name}: {figure} {value:.4g} > {limit:g}")
    return int(bool(above))


def _tables(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    from serving.client.logged_rows import read
    from serving.compare import compare

    if len(args.model) > 2 or (len(args.model) == 1 and not args.reference):
        raise ValueError(
            "Give --model twice, to compare two models, or once and --reference, to "
            f"compare two sets of rows. Received: {len(args.model)} models"
        )
    if args.key and not args.reference:
        raise ValueError("--key joins the rows with those of --reference; give it too")
    rows = read(args.rows)
    reference = read(args.reference) if args.reference else None
    if args.key:
        rows, reference = compare.joined(rows, reference, args.key)
    models = [_Model(url, args.signature_name) for url in args.model]
    answers = [model.score(rows) for model in models]
    if len(models) == 2:
        title = f"{len(rows)} rows, scores of {args.model[0]} and {args.model[1]}"
        yield title, compare.scores(*answers)
    if reference is None:
        return
    inputs, other = models[0].inputs, models[0].score(reference)
    title = f"{len(rows)} rows of {args.rows} and {len(reference)} of {args.reference}"
    if args.key:
        yield f"features, {title}", compare.mismatches(rows, reference, inputs)
        yield f"scores, {title}", compare.scores(answers[0], other)
    else:
        yield f"features, {title}", compare.features(rows, reference, inputs)
        yield f"scores, {title}", compare.score_distributions(answers[0], other)


class _Model:
    """One model by its URL.

    Args:
        url: str. As in TF Serving's API, with a version or a label or neither.
        signature_name: str. The signature.
    """

    def __init__(self, url: str, signature_name: str):
        from serving.client import Client

        match = _MODEL.fullmatch(url)
        if not match:
            raise ValueError(
                "A model is given as http://HOST:PORT/v1/models/NAME, with "
                f"/versions/N or /labels/LABEL behind it or not. Received: {url!r}"
            )
        version = int(match["version"]) if match["version"] else match["label"]
        self._client = Client(
            match["server"],
            unquote(match["name"]),
            signature_name=signature_name,
            version=unquote(version) if isinstance(version, str) else version,
        )
        self.inputs = self._client.signature(signature_name)["inputs"]

    def score(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Gives {output: array} of all rows."""
        import numpy as np

        answers = [
            self._client.predict(rows[at : at + _BATCH])
            for at in range(0, len(rows), _BATCH)
        ]
        return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}


def _text(title: str, table: Mapping[str, Mapping[str, Any]]) -> str:
    """A table, the rows that differ most on top."""
    lines = [f"{title}:"]
    if not table:
        return lines[0] + " nothing to compare"
    names = list(next(iter(table.values())))
    worst = next(n for n in ("distance", "different", "max_difference") if n in names)
    order = sorted(table, key=lambda name: -table[name][worst])
    cells = [["", *names]] + [
        [name, *(_cell(table[name][column]) for column in names)] for name in order
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(("  " + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return ""
    row, first, second = value
    return f"row {row}: {first} and {second}"[:90]
