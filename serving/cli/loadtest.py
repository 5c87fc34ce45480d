"""The command `loadtest`."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `loadtest`."""
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8501")
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--signature-name", default="serving_default")
    parser.add_argument(
        "--rate", type=float, default=50.0, help="requests a second (default: 50)"
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="for how long (default: 30)"
    )
    parser.add_argument(
        "--json", metavar="FILE",
        help="rows to send, [{...}, ...] or one JSON object a line; default: one row "
        "of missing values",
    )  # fmt: skip
    parser.add_argument("--rows-per-request", type=int, default=1, help="default: 1")
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals")
    parser.add_argument("--report", type=Path, metavar="HTML", help="page to write")
    parser.add_argument(
        "--max-p99-ms", type=float, help="exit with status 1 above this latency"
    )
    parser.set_defaults(status_if_refused=2)


def run(args: argparse.Namespace) -> int:
    """Runs a load test and prints its figures; status 1 if requests failed."""
    from serving.client import Client
    from serving.client.logged_rows import read
    from serving.client.rest import model_url
    from serving.loadtest.load import bodies, load
    from serving.loadtest.report import render

    if not args.url.startswith(("http://", "https://")):
        raise ValueError(
            "A load test asks over REST; the url starts with http:// or https://. "
            f"Received: {args.url!r}"
        )
    if args.report and not args.report.parent.is_dir():  # not after the test
        raise ValueError(f"The folder of the report is missing: {args.report}")
    rows = read(Path(args.json)) if args.json else None
    with Client(args.url, args.model_name) as client:
        signature = client.signature(args.signature_name)
    url = model_url(args.url, args.model_name) + ":predict"
    result = load(
        url,
        bodies(signature, args.signature_name, rows, args.rows_per_request),
        rate=args.rate,
        seconds=args.seconds,
        timeout=args.timeout,
        seed=args.seed,
    )
    summary = result.summary()
    print(json.dumps(summary, indent=1))
    if args.report:
        title = f"{url}, {args.signature_name}, {args.rows_per_request} rows a request"
        args.report.write_text(render(result, title))
    p99 = summary["latency_ms"]["p99"]
    too_slow = args.max_p99_ms and (p99 is None or p99 > args.max_p99_ms)
    return int(bool(summary["errors"] or too_slow))
