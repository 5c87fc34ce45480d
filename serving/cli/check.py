"""`python -m serving check`: whether servers serve what a model config file asks for.

A server that refuses the file says so in its log alone, and serves on what it had. With
`--port` the answer is a metric for Prometheus, asked for at every scrape:

    :serving:config_is_served{model_name="shop",server="http://127.0.0.1:8501"} 1
"""

import argparse
import functools
import http.server
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.cli.release import add_config_file
from serving.config.server import METRICS_PATH
from serving.release import labels
from serving.release.servers import NotServedError, Servers

METRIC = ":serving:config_is_served"
_ANSWER_SECONDS = 3.0  # Prometheus waits for 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config_file(parser, required=True)
    parser.add_argument(
        "--url", action="append", required=True,
        help="a server that reads the file; to be given for each of them",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int,
        help="go on, and answer Prometheus on this port (default: say it and end)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address of that port (default: loopback)"
    )


def run(args: argparse.Namespace) -> int:
    """Says what each server lacks; gives status 2 if one lacks anything."""
    if args.port is not None:
        with make_server(args) as server:
            print(f"http://{args.host}:{server.server_port}{METRICS_PATH}", flush=True)
            server.serve_forever()
    status = 0
    for url in args.url:
        reason = lacking(args.model_config_file, args.model_name, url)
        print(f"{url}: {reason or 'serves what the file asks for'}")
        status = 2 if reason else status
    return status


def lacking(config_file: Path, name: str, url: str) -> str:
    """Why a server does not serve what a file asks for; "" if it does.

    Where the file asks for the newest versions, any version will do.
    """
    try:
        wanted = labels.known(config_file, name)
        is_listed = isinstance(wanted.versions, tuple)
        servers = Servers([url], name, wait_seconds=0, answer_seconds=_ANSWER_SECONDS)
        servers.wait_for(
            wanted.versions if is_listed else (), wanted.labels, exactly=is_listed
        )
    except NotServedError as error:
        return str(error).removeprefix(f"{url}: ")
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def make_server(args: argparse.Namespace) -> http.server.HTTPServer:
    """Makes the server that Prometheus asks; it listens already."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            """Looks at the servers and writes the page."""
            if self.path != METRICS_PATH:
                self.send_error(404, f"The metrics are at {METRICS_PATH}")
                return
            page = _page(args.model_config_file, args.model_name, args.url).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Writes no line for each scrape."""

    return http.server.ThreadingHTTPServer((args.host, args.port), Handler)


def _page(config_file: Path, name: str, urls: list[str]) -> str:
    lines = [
        f"# HELP {METRIC} Whether a server serves what the model config file asks for.",
        f"# TYPE {METRIC} gauge",
    ]
    with ThreadPoolExecutor(len(urls)) as pool:
        reasons = list(pool.map(functools.partial(lacking, config_file, name), urls))
    for url, reason in zip(urls, reasons, strict=True):
        is_served = int(not reason)
        label = f"model_name={json.dumps(name)},server={json.dumps(url)}"
        lines.append(f"{METRIC}{{{label}}} {is_served}")
    return "\n".join(lines) + "\n"
