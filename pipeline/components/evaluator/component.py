"""Evaluator: measures the exported model on the test split, and blesses or refuses it.

    examples, model -> evaluation   metrics.json, importance.json
                    -> blessing     BLESSED or NOT_BLESSED, with the reasons

What is measured is the SavedModel that would be served, fed with raw examples, and
beside it, on the same rows, the models of `others`: the baseline, which is the one that
is served now, and the single-task run. `rules` says what is blessed. A refusal is no
error: the Pusher reads the verdict.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import blessing, examples, json_file, layout, saved_model
from pipeline.components.evaluator import job, metrics, others, rules
from pipeline.components.evaluator.importance import importance
from pipeline.config import Config, Task, nearest
from pipeline.errors import PipelineError
from pipeline.workspace import lock as workspaces
from serving.release.rollbacks import identity


class Misfit(PipelineError):
    """A model does not predict the tasks of a config, or does not read its examples."""


def check(config: Config) -> None:
    """Raises a PipelineError for a comparison that cannot be made, before any work."""
    others.models(config)


def evaluator(
    config: Config,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    mend: str = "Run ExampleGen and the Trainer again with this config",
) -> dict:
    """Evaluates a model per task, per domain and per slice.

    Args:
        config: The pipeline's config.
        inputs: "examples", "model".
        outputs: "evaluation", "blessing".
        mend: What to do where the model does not fit the config.

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
    if problem := _misfit(config, model, schema):
        raise Misfit(f"{problem}. {mend}")
    compared = others.models(config)
    baseline, refusal = compared.get("baseline"), ""
    if baseline:
        refusal = _not_comparable(baseline, schema)
    elif config.evaluate.baseline is not None:
        refusal = "no model is served yet"
    if single := compared.get("single_task"):
        if problem := _not_comparable(single, schema):
            raise PipelineError(f"evaluate.single_task: {problem}")
    if refusal and config.evaluate.baseline not in (None, others.SERVED):
        raise PipelineError(f"evaluate.baseline: {refusal}")
    models = {"model": model} | compared
    seen = ""
    if refusal:
        models.pop("baseline", None)
    elif baseline:
        first = others.first_test_time(config, split)
        seen = others.has_seen_test(config, first, baseline)
    with workspaces.reading(w for m in compared.values() for w in workspaces.of(m)):
        results = job.evaluate(
            config, split, models, _sources(config, models), outputs["evaluation"]
        )
    job.adjust(results)
    overall = {r["task"]: r for r in results if r["slice"] == job.ALL}
    gates = rules.judge(config, results, seen)
    reasons = [gate["reason"] for gate in gates if not gate["passed"]]
    measured = {
        "pipeline": config.name,
        "architecture": config.model.architecture,
        "rows": rows,
        "tasks": [
            t.model_dump(include={"name", "kind", "space", "row_weight"})
            | {"metric": metrics.PRIMARY[t.kind], "negative_rate": t.negative_rate}
            for t in config.tasks
        ],
        "domain": config.domain,
        "slices": job.slice_columns(config),
        "group": config.evaluate.group,
        "more_metrics": config.evaluate.metrics,
        "single_task": _described(models.get("single_task")),
        "baseline": _described(models.get("baseline")),
        "baseline_note": refusal,
        "baseline_has_seen_test": seen,
        # Of the model and of the one served now, comparable or not.
        "compared": [identity(p) for p in (model, baseline) if p],
        "blessed": not reasons,
        "gates": gates,
        "results": results,
    }
    json_file.write(outputs["evaluation"] / layout.METRICS, measured)
    if config.evaluate.importance:
        found = importance(config, split, model, outputs["evaluation"])
        json_file.write(outputs["evaluation"] / layout.IMPORTANCE, found)
    return {
        "rows": rows,
        "blessed": blessing.write(outputs["blessing"], reasons),
        "metrics": {
            t.name: _value(overall.get(t.name), "model", t) for t in config.tasks
        },
        "too_few": [name for name, record in overall.items() if record["too_few"]],
        "notes": _notes(config, overall, gates, refusal, seen),
    }


def _misfit(config: Config, model: Path, schema: pa.Schema) -> str:
    """Tells why a model and the examples of a config do not fit; "" if they do."""
    signature = saved_model.signatures(model)[saved_model.DEFAULT]
    wanted = {task.name for task in config.tasks}
    if lacking := sorted(wanted - set(signature.outputs)):
        return (
            f"the model must predict every task. It lacks {lacking} and has "
            f"{sorted(signature.outputs)}"
        )
    if problems := saved_model.unreadable(model, schema):
        return f"the examples must hold what the model takes in: {'; '.join(problems)}"
    return ""


def _not_comparable(baseline: Path, schema: pa.Schema) -> str:
    """Tells why a model cannot be measured on the examples; "" if it can."""
    try:
        problems = saved_model.unreadable(baseline, schema)
    except PipelineError as error:
        problems = [str(error)]
    where = f"{_called(baseline)} cannot be measured on these examples"
    return f"{where}: {'; '.join(problems)}" if problems else ""


def _called(model: Path) -> str:
    return f"served version {model.name}" if model.name.isdigit() else str(model)


def _sources(config: Config, models: Mapping[str, Path]) -> dict[str, list[str]]:
    """Says for each task which models predict it, and whether the best is known."""
    best = config.evaluate.best_reachable
    return {
        task: names + (["best_reachable"] if task in best else [])
        for task, names in job.sources_of(config, models).items()
    }


def _value(record: Mapping | None, source: str, task: Task) -> float | None:
    """A task's primary metric in a record; None where it is not defined."""
    if record is None or source not in record:
        return None
    return record[source][metrics.PRIMARY[task.kind]]


def _described(model: Path | None) -> dict | None:
    """What a model is called, where it lies, and what it is."""
    if model is None:
        return None
    from tfmtl import model_card

    architecture = model_card.read(model).get("model", {}).get("architecture")
    version = int(model.name) if model.name.isdigit() else None
    return {"path": str(model), "version": version, "architecture": architecture}


def _notes(
    config: Config,
    overall: Mapping[str, dict],
    gates: Sequence[Mapping],
    refusal: str,
    seen: str | None,
) -> list[str]:
    """The lines to show a person: metrics, comparison, verdict."""
    lines = []
    for task in config.tasks:
        record, metric = overall.get(task.name), metrics.PRIMARY[task.kind]
        shown = []
        for source in ("model", "baseline", "best_reachable"):
            if (value := _value(record, source, task)) is not None:
                ends = record[source].get("intervals", {}).get(metric)
                span = f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
                shown.append(f"{source.replace('_', ' ')} {value:.4f}{span}")
        for other, gains in (record or {}).get("gain", {}).items():
            if metric in gains:
                gain = gains[metric]
                shown.append(
                    f"gain over {other.replace('_', ' ')} {gain['value']:+.4f} "
                    f"({gain['low']:+.4f} to {gain['high']:+.4f})"
                )
        if record and record["too_few"]:
            shown.append(f"too few to say: {record['too_few']}")
        lines.append(f"{task.name}: {metric} {', '.join(shown) or 'not defined'}")
    if refusal:
        lines.append(f"baseline: {refusal}")
    elif seen is None:
        lines.append("baseline: whether it has seen the test rows cannot be told")
    # Several rules may lack the same rows.
    lines += dict.fromkeys(gate["reason"] for gate in gates if gate["undecided"])
    return lines + [
        f"not blessed: {gate['reason']}" for gate in gates if not gate["passed"]
    ]
