"""Measures one SavedModel with the Evaluator, on any rows."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts import layout
from pipeline.components.evaluator import others
from pipeline.components.evaluator.component import evaluator
from pipeline.components.example_gen.component import example_gen
from pipeline.config import Config
from pipeline.config.data import Split
from pipeline.report import evaluation as report
from pipeline.run import run
from pipeline.workspace import lock as workspaces
from tfmtl import model_card


def evaluate(
    config: Config,
    model: Path,
    rows: Sequence[str] | None = None,
    output: str | Path | None = None,
    against_served: bool = True,
) -> dict:
    """Measures a model as the Evaluator does.

    Args:
        config: The pipeline.
        model: The SavedModel.
        rows: Globs of log files, which are read as ExampleGen reads `data.logs`.
            Defaults to the test split.
        output: An empty or new folder for metrics.json and the report. Defaults to
            none.
        against_served: Whether it is compared as `evaluate` says, too.

    Returns:
        The Evaluator's summary, "rows", "metrics", "notes", and "has_seen_test": why
        the model may have learnt from these rows, "" if it has not, None if it cannot
        be told.

    Raises:
        PipelineError: The rows cannot be read, or the model cannot be measured on them.
    """
    changes: dict = {"importance": None}  # for many times the predictions
    if not against_served:
        changes |= {"baseline": None, "single_task": None}
    evaluated = config.evaluate.model_copy(update=changes)
    config = config.model_copy(update={"evaluate": evaluated})
    workspace = workspaces.make(Path(config.workspace))
    with (
        workspaces.reading([workspace, *workspaces.of(model)]),
        tempfile.TemporaryDirectory(prefix=".evaluate-", dir=workspace) as name,
    ):
        work = Path(name)
        folders = {n: work / n for n in ("examples", "model", "evaluation", "blessing")}
        for folder in folders.values():
            folder.mkdir()
        if output:
            folders["evaluation"] = Path(output)
            folders["evaluation"].mkdir(parents=True, exist_ok=True)
        if rows is None:
            found = run(config, until="ExampleGen", report=lambda line: None)
            folders["examples"] = found["examples"]
        else:
            example_gen(of_test_rows(config, rows), {}, folders)
        (folders["model"] / layout.SERVING_MODEL).symlink_to(model.absolute())
        inputs = {n: folders[n] for n in ("examples", "model")}
        outputs = {n: folders[n] for n in ("evaluation", "blessing")}
        other = f"Tasks and data are those of {config.name!r}; measure the model by "
        other += "the config that it was trained with"
        summary = evaluator(config, inputs, outputs, mend=other)
        test = layout.split(folders["examples"], "test")
        since = others.first_test_time(config, test)
        seen = others.has_seen_test(config, since, model)
        if rows is not None and not seen and config.data.split.by != "time":
            seen = None  # these rows are divided by nothing
        summary["has_seen_test"] = seen
        if seen:
            summary["notes"].append(f"warning: its metrics may be too good: {seen}")
        if output:
            measured = json.loads((outputs["evaluation"] / layout.METRICS).read_text())
            page = report.render(measured, card=model_card.read(model))
            (outputs["evaluation"] / layout.REPORT).write_text(page)
        return summary


def of_test_rows(config: Config, rows: Sequence[str]) -> Config:
    """The config whose logs are these files, all of them in the test split."""
    logs = {"source": None, "logs": {"test": list(rows)}, "split": Split(by="given")}
    return config.model_copy(update={"data": config.data.model_copy(update=logs)})
