"""The last lines of a run that has pushed a model: how to serve it, and to ask it."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts import layout
from pipeline.config import Config
from serving.client.rest import model_url

_PORT = 8501
_LONGEST = 1000  # characters of a request that is shown, and not its file


def lines(config: Config, artifacts: Mapping[str, Path], base_path: Path) -> str:
    """Returns one served row beside the offline scores, and what to do next.

    Args:
        config: The pipeline's config.
        artifacts: {name: folder} of the run.
        base_path: Where the model was pushed.
    """
    infra = artifacts["infra_blessing"]
    scores = json.loads((infra / layout.INFRA).read_text())["scores"]
    shown = [
        f"  {task:<15} served {served:.6f}  offline {offline:.6f}"
        for task, (served, offline) in scores.items()
    ]
    return "\n".join(
        [
            "one logged row, asked over REST:",
            *shown,
            "",
            how_to_ask(config, artifacts, base_path, infra / layout.REQUEST),
        ]
    )


def how_to_ask(
    config: Config, artifacts: Mapping[str, Path], base_path: Path, request: Path
) -> str:
    """Returns the commands to serve a model and to ask it, and where its report is.

    Args:
        config: The pipeline's config.
        artifacts: {name: folder} of the run.
        base_path: Where the model was pushed.
        request: A file with the body of a request.
    """
    body = request.read_text().strip()
    if len(body) > _LONGEST:
        body = f"@{request}"
    base = shlex.quote(str(base_path))
    url = model_url(f"http://localhost:{_PORT}", config.name)
    return (
        f"serve it:\n  {_python()} -m serving serve --model-base-path {base} "
        f"--model-name {config.name} --rest-port {_PORT}\n"
        f"ask it:\n  curl -d {shlex.quote(body)} {url}:predict\n"
        f"report: {artifacts['report'] / layout.REPORT}"
    )


def _python() -> str:
    """The interpreter, as it is called from this folder."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if Path.cwd() in path.parents else "python"
