"""Measures models on the same test rows, in one Beam job, and compares them.

Each is compared with the first, in pairs of predictions of the same row; the p-values
of all of them are corrected together, by Holm.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.artifacts import examples as artifact
from pipeline.artifacts import layout, saved_model
from pipeline.comparison.models import Model
from pipeline.components.evaluator import job, metrics, others
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces


def compare(config: Config, models: Sequence[Model]) -> dict[str, Any]:
    """Compares models on the test split of a config's data.

    Args:
        config: The pipeline; its ExampleGen runs if it has not.
        models: The first is what the others are compared with.

    Returns:
        {"pipeline", "rows", "against": the first's name, "tasks": [{"name", "kind",
        "metric"}], "models": [{"name", "path", "architecture", "parameters",
        "seconds", "mean_gain", "tasks": {task: {"value", "low", "high", "too_few",
        "gain": {"value", "low", "high", "p", "p_adjusted"} or None}},
        "has_seen_test": why it may have learnt from these rows, "" if it has not, None
        if it cannot be told}], "results": what `measure` returned}. Models come by
        their mean gain over the tasks.

    Raises:
        PipelineError: A model cannot be measured on these examples.
    """
    workspace = workspaces.make(Path(config.workspace))
    paths = {model.name: model.path for model in models}
    of_models = [found for path in paths.values() for found in workspaces.of(path)]
    with (
        workspaces.reading([workspace, *of_models]),
        tempfile.TemporaryDirectory(prefix=".compare-", dir=workspace) as work,
    ):
        examples = run(config, until="ExampleGen", report=lambda line: None)["examples"]
        records = measure(config, examples, paths, Path(work))
        test = layout.split(examples, "test")
        since = others.first_test_time(config, test)
        rows = artifact.count_rows(test)
        described = [
            {
                **_described(model, records),
                "has_seen_test": others.has_seen_test(config, since, model.path),
            }
            for model in models
        ]
    first = models[0].name
    described.sort(key=lambda found: (-found["mean_gain"], found["name"] != first))
    return {
        "pipeline": config.name,
        "rows": rows,
        "against": first,
        "tasks": tasks_of(config),
        "models": described,
        "results": records,
    }


def tasks_of(config: Config) -> list[dict[str, str]]:
    """The tasks as a leaderboard has them: {"name", "kind", "metric"} each."""
    return [
        {"name": t.name, "kind": t.kind, "metric": metrics.PRIMARY[t.kind]}
        for t in config.tasks
    ]


def _described(model: Model, records: Sequence[Mapping]) -> dict[str, Any]:
    """One line of the leaderboard."""
    from tfmtl import model_card

    card = model_card.read(model.path).get("model", {})
    tasks = {
        record["task"]: {
            "value": record[model.name][record["metric"]],
            "low": low,
            "high": high,
            "too_few": record["too_few"],
            "gain": gain_of(record, model.name),
        }
        for record in records
        if record["slice"] == job.ALL and model.name in record
        for low, high in [interval_of(record, model.name) or (None, None)]
    }
    gains = [found["gain"]["value"] for found in tasks.values() if found["gain"]]
    return {
        "name": model.name,
        "path": mirror.shown(model.path),
        "architecture": card.get("architecture"),
        "parameters": card.get("parameters"),
        "seconds": model.seconds,
        "mean_gain": sum(gains) / len(gains) if gains else 0.0,
        "tasks": tasks,
    }


def interval_of(record: Mapping[str, Any], name: str) -> list[float] | None:
    """The interval of a model's primary metric in a record of `measure`, if any."""
    return record[name].get("intervals", {}).get(record["metric"])


def gain_of(record: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """What a model gains in the primary metric over the first one of `measure`."""
    gain = record.get("gain", {}).get(name, {}).get(record["metric"])
    wanted = ("value", "low", "high", "p", "p_adjusted")
    return gain and {key: gain[key] for key in wanted}


def measure(
    config: Config, examples: Path, models: Mapping[str, Path], work: Path
) -> list[dict[str, Any]]:
    """Measures all models on the test split.

    Args:
        config: Its tasks, and `evaluate`.
        examples: The artifact.
        models: {name: SavedModel}; at least one.
        work: A folder that the workers of the job see.

    Returns:
        The records of `evaluator.job.evaluate`, each with its primary "metric". Its
        "gain" has {name: what that model gains over the first}.

    Raises:
        PipelineError: There are no rows, or a model cannot be measured on them.
    """
    split = layout.split(examples, "test")
    if not artifact.count_rows(split):
        raise PipelineError(f"a comparison needs rows. Received: none in {split}")
    schema = pq.read_schema(artifact.shards(split)[0])
    problems = [
        f"{name}: {problem}"
        for name, path in models.items()
        for problem in saved_model.unreadable(path, schema)
    ]
    if problems:
        raise PipelineError(
            "the examples must hold what every model takes in:\n  "
            + "\n  ".join(problems)
            + f"\nThose of {config.name!r} do not; compare by the config of that model"
        )
    first, *rest = models
    records = job.evaluate(
        config,
        split,
        models,
        job.sources_of(config, models),
        work,
        {name: (name, first) for name in rest},
    )
    job.adjust(records, together=True)
    kinds = {task.name: task.kind for task in config.tasks}
    return [r | {"metric": metrics.PRIMARY[kinds[r["task"]]]} for r in records]
