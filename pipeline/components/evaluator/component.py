"""Evaluator: measures the exported model on the test split, and blesses or refuses it.

    examples, model -> evaluation   metrics.json, report.html
                    -> blessing     BLESSED or NOT_BLESSED, with the reasons

What is measured is the SavedModel that would be served, fed with raw examples. The
model that is served now, the newest version at `push.destination`, is measured beside
it on the same rows. A refusal is no error: the Pusher reads the verdict.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import blessing, examples, layout, saved_model
from pipeline.components.evaluator import gain, job, metrics
from pipeline.config import Config, Task, nearest
from pipeline.errors import PipelineError
from pipeline.report import report
from serving.release.rollbacks import identity


def check(config: Config) -> None:
    """Raises a PipelineError for a comparison that cannot be made, before any work."""
    if config.evaluate.single_task:
        gain.metrics_file(config.evaluate.single_task)


def evaluator(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Evaluates a model per task, per domain and per slice.

    Args:
        config: The pipeline's config.
        inputs: "examples", "model".
        outputs: "evaluation", "blessing".

    Returns:
        {"rows", "blessed", "metrics": {task: AUC or Spearman correlation}, "notes"}.

    Raises:
        PipelineError: The test split is empty, the model does not fit the config, or
            the single-task run cannot be compared with it.
    """
    split = layout.split(inputs["examples"], "test")
    rows = examples.count_rows(split)
    if not rows:
        raise PipelineError(
            f"an evaluation needs rows. Received: none in {split}. Make the test split "
            "larger: data.split"
        )
    schema = pq.read_schema(examples.shards(split)[0])
    for where, column, _ in config.columns():
        if where.startswith("evaluate.") and column not in schema.names:
            raise PipelineError(
                f"{where}: column {column!r} is not in the examples."
                f"{nearest(column, schema.names)}"
            )
    model = inputs["model"] / layout.SERVING_MODEL
    _check_model(config, model, schema)
    models = {"model": model}
    baseline = saved_model.served(Path(config.push.destination))
    refusal = "no model is served yet"
    if baseline:
        refusal = _not_comparable(baseline, schema)
    if not refusal:
        models["baseline"] = baseline
    results = job.evaluate(
        config, split, models, _sources(config, models), outputs["evaluation"]
    )
    alone = config.evaluate.single_task and gain.metrics_file(
        config.evaluate.single_task
    )
    if alone:
        gain.add(results, alone)
    overall = {r["task"]: r for r in results if r["slice"] == job.ALL}
    gates = [gate for task in config.tasks for gate in _gates(config, task, overall)]
    reasons = [gate["reason"] for gate in gates if not gate["passed"]]
    measured = {
        "pipeline": config.name,
        "architecture": config.model.architecture,
        "rows": rows,
        "tasks": [
            t.model_dump(include={"name", "kind", "space", "row_weight"})
            | {"metric": metrics.PRIMARY[t.kind]}
            for t in config.tasks
        ],
        "domain": config.domain,
        "slices": job.slice_columns(config),
        "group": config.evaluate.group,
        "single_task": str(alone) if alone else None,
        "baseline": {"version": int(baseline.name)} if "baseline" in models else None,
        "baseline_note": refusal,
        # Of the model and of the one served now, comparable or not.
        "compared": [identity(p) for p in (model, baseline) if p],
        "blessed": not reasons,
        "gates": gates,
        "results": results,
    }
    text = json.dumps(measured, indent=1, allow_nan=False)
    (outputs["evaluation"] / layout.METRICS).write_text(text + "\n")
    history = inputs["model"] / layout.HISTORY
    epochs = json.loads(history.read_text())["epochs"] if history.exists() else []
    page = report.render(measured, epochs)
    (outputs["evaluation"] / layout.REPORT).write_text(page)
    return {
        "rows": rows,
        "blessed": blessing.write(outputs["blessing"], reasons),
        "metrics": {
            t.name: _value(overall.get(t.name), "model", t) for t in config.tasks
        },
        "notes": _notes(config, overall, reasons, refusal),
    }


def _check_model(config: Config, model: Path, schema: pa.Schema) -> None:
    signature = saved_model.signatures(model)[saved_model.DEFAULT]
    wanted = {task.name for task in config.tasks}
    if lacking := sorted(wanted - set(signature.outputs)):
        raise PipelineError(
            f"the model must predict every task. It lacks {lacking} and has "
            f"{sorted(signature.outputs)}. Train it again with this config"
        )
    if problems := saved_model.unreadable(model, schema):
        raise PipelineError(
            "the examples must hold what the model takes in: "
            f"{'; '.join(problems)}. Run ExampleGen and the Trainer again"
        )


def _not_comparable(baseline: Path, schema: pa.Schema) -> str:
    """Tells why the served model cannot be measured on the examples; "" if it can."""
    try:
        problems = saved_model.unreadable(baseline, schema)
    except PipelineError as error:
        problems = [str(error)]
    where = f"served version {baseline.name} cannot be measured on these examples"
    return f"{where}: {'; '.join(problems)}" if problems else ""


def _sources(config: Config, models: Mapping[str, Path]) -> dict[str, list[str]]:
    """Says for each task which models predict it, and whether the best is known."""
    predicted = {
        name: saved_model.signatures(path)[saved_model.DEFAULT].outputs
        for name, path in models.items()
    }
    best = config.evaluate.best_reachable
    return {
        task.name: [name for name in models if task.name in predicted[name]]
        + (["best_reachable"] if task.name in best else [])
        for task in config.tasks
    }


def _value(record: Mapping | None, source: str, task: Task) -> float | None:
    """A task's primary metric in a record; None where it is not defined."""
    if record is None or source not in record:
        return None
    return record[source][metrics.PRIMARY[task.kind]]


def _gates(config: Config, task: Task, overall: Mapping[str, dict]) -> list[dict]:
    """What a task's predictions must fulfil; a `reason` where they do not."""
    record = overall.get(task.name)
    metric = metrics.PRIMARY[task.kind]
    value = _value(record, "model", task)
    limits = []
    if task.name in config.evaluate.minimum:
        limits.append(("minimum", config.evaluate.minimum[task.name]))
    now = _value(record, "baseline", task)
    drop = config.evaluate.max_drop
    if isinstance(drop, dict):
        drop = drop.get(task.name)
    if now is not None and drop is not None:
        limits.append(("served model - max_drop", now - drop))
    gates = []
    for rule, least in limits:
        if value is None:
            reason = f"{task.name}: {metric} is not defined on the test split"
        elif value < least:
            reason = f"{task.name}: {metric} {value:.4f} is below {least:.4f} ({rule})"
        else:
            reason = ""
        gates.append({"rule": rule, "value": value, "least": least, "reason": reason})
    if record and (invalid := record["model"]["invalid"]):
        valid = "probabilities" if task.kind == "binary" else "finite"
        reason = (
            f"{task.name}: {invalid} of {record['rows']} predictions are not {valid}"
        )
        rule = f"predictions are {valid}"
        gates.append({"rule": rule, "value": None, "least": None, "reason": reason})
    same = {"task": task.name, "metric": metric}
    return [same | gate | {"passed": not gate["reason"]} for gate in gates]


def _notes(
    config: Config,
    overall: Mapping[str, dict],
    reasons: Sequence[str],
    refusal: str,
) -> list[str]:
    """The lines to show a person: metrics, comparison, verdict."""
    lines = []
    for task in config.tasks:
        record = overall.get(task.name)
        shown = [
            f"{source.replace('_', ' ')} {value:.4f}"
            for source in ("model", "baseline", "best_reachable")
            if (value := _value(record, source, task)) is not None
        ]
        metric = metrics.PRIMARY[task.kind]
        if record and metric in record.get("gain", {}):
            shown.append(f"gain {record['gain'][metric]:+.4f}")
        lines.append(f"{task.name}: {metric} {', '.join(shown) or 'not defined'}")
    if refusal:
        lines.append(f"baseline: {refusal}")
    return lines + [f"not blessed: {reason}" for reason in reasons]
