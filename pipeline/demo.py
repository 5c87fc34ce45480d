"""The whole road once: run all stages, serve the model, ask it, show its worth."""

import json
from collections.abc import Mapping

import numpy as np

import serving
from pipeline.artifacts import keras_model, layout, pushed
from pipeline.cli.ending import how_to_ask
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run
from serving.quiet import import_tensorflow_quietly

_TOLERANCE = 1e-5


def demo(config: Config) -> None:
    """Runs the pipeline, then sends one logged row to the pushed model over REST.

    Raises:
        PipelineError: If no model was pushed, or the answer is not the offline score.
    """
    import_tensorflow_quietly()
    artifacts = run(config)
    path = pushed.read(artifacts["pushed_model"])
    if path is None:
        raise PipelineError(
            "the model was not blessed, so there is none to serve; see "
            f"{artifacts['report'] / layout.REPORT}"
        )
    print()
    base_path = path.parent
    request = artifacts["infra_blessing"] / layout.REQUEST
    rows = json.loads(request.read_text())["instances"]
    version = int(path.name)
    with serving.start(base_path, config.name, versions=(version,)) as server:
        answer = serving.Client(server.url, config.name).predict(rows)
    _, offline = keras_model.scores(
        config.model.architecture,
        artifacts["model"],
        artifacts["transformed_examples"],
        rows=1,
    )
    print(f"one logged row, asked over REST from version {version}:")
    for name, (score,) in offline.items():
        served = float(np.asarray(answer[name]).reshape(-1)[0])
        print(f"  {name:<15} served {served:.6f}  offline {score:.6f}")
        if abs(served - score) > _TOLERANCE * max(1.0, abs(score)):
            raise PipelineError(
                f"{name}: the served score must be the offline score within "
                f"{_TOLERANCE}. Received: {served} and {score}."
            )
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    print("\n" + table(config, measured))
    print("\n" + how_to_ask(config, artifacts, base_path, request))


def table(config: Config, measured: Mapping) -> str:
    """A table of task x domain: the model's metric beside the best reachable one."""
    domains: dict[tuple[str, str], None] = {("all", "all"): None}
    found = {}
    for record in measured["results"]:
        if record["slice"] in ("all", config.domain):
            domain = record["slice"], record["value"]
            found[record["task"], domain] = record
            domains[domain] = None
    rows = [["test split", *(value for _, value in domains)]]
    for task in measured["tasks"]:
        cells = []
        for domain in domains:
            record = found.get((task["name"], domain), {})
            values = [
                record.get(source, {}).get(task["metric"])
                for source in ("model", "best_reachable")
            ]
            shown = ["-" if value is None else f"{value:.4f}" for value in values]
            if task["name"] not in config.evaluate.best_reachable:
                shown = shown[:1]
            cells.append(" / ".join(shown))
        rows.append([f"{task['name']} {task['metric']}", *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if config.evaluate.best_reachable:
        lines.append("(model / best reachable)")
    return "\n".join(line.rstrip() for line in lines)
