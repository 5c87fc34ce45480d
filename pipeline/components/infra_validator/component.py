"""InfraValidator: asks the exported model as a server would, and compares the answers.

    examples, transformed_examples, model -> infra_blessing

Logged rows go through every signature of the SavedModel over HTTP: `infra.rows` through
serving_default, the first 100 of them through the others, which read them in another
way and then run the same graph. The embedded server loads it into a session, as TF
Serving does, and replays the warm-up requests. A signature that takes something else is
asked for an empty row.
The offline scores are those of the Keras model on the records that Transform wrote for
the same rows. They must agree: then the transform that serves is the one that the model
was trained with. Size and latency must be within `infra`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import progress
from pipeline.artifacts import (
    blessing,
    examples,
    keras_model,
    layout,
    saved_model,
)
from pipeline.components.infra_validator import probe
from pipeline.components.infra_validator.probe import Answer, Arrays
from pipeline.config import Config
from pipeline.errors import PipelineError
from serving.models.warmup import WARMUP_FILE

TOLERANCE = 1e-5
_ROWS_OF_OTHERS = 100
_SHOWN = "asks the model", "answers"


def infra_validator(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Checks that the exported model can be served, and serves the offline scores.

    Args:
        config: The pipeline's config.
        inputs: "examples", "transformed_examples", "model".
        outputs: "infra_blessing".

    Returns:
        {"rows", "blessed", "difference": the largest between served and offline
        scores, "latency_ms": the median for one row over HTTP, both None where nothing
        could be asked, "megabytes", "scores": {task: (served, offline) of the first
        row}, "notes"}.

    Raises:
        PipelineError: The test splits of the two kinds of examples do not fit together.
    """
    path = inputs["model"] / layout.SERVING_MODEL
    batch = _head(layout.split(inputs["examples"], "test"), config.infra.rows)
    raw = examples.raw_inputs(batch, saved_model.features(path))
    transformed, offline = keras_model.scores(
        config.model.architecture,
        inputs["model"],
        inputs["transformed_examples"],
        batch.num_rows,
    )
    requests = saved_model.requests(path, raw, transformed, _ROWS_OF_OTHERS)
    files, size = _files(path), sum(file[1] for file in _files(path)) / 2**20
    signatures = saved_model.signatures(path)
    # Those of the loader itself, such as its initialization, are not for callers.
    others = sorted(n for n in {*signatures} - {*requests} if not n.startswith("__"))
    answers = len(requests) + len(others)
    with progress.counting(answers, outputs["infra_blessing"], *_SHOWN) as done:
        over_http, latency = probe.server(path, config.name, requests, done)
        in_session = list(probe.session(path, others, done))
    reasons: list[str] = []
    largest = None
    for answer in (*over_http, *in_session):
        difference, found = _judge(
            config, answer, offline, answer.signature in requests
        )
        reasons += [f"{answer.where}: {reason}" for reason in found]
        if difference is not None:
            largest = max(difference, largest or 0.0)
    reasons += _beyond(config, size, latency)
    if not (path / WARMUP_FILE).is_file():
        reasons.append(
            f"a model to be served needs {WARMUP_FILE}: without, a server calls a "
            "damaged version available. Export it with the Trainer, or add requests "
            "with serving.models.warmup"
        )
    if _files(path) != files:
        reasons.append(f"{path.name} was changed by serving it, which must only read")
    blessed = blessing.write(outputs["infra_blessing"], reasons)
    found = {
        "rows": batch.num_rows,
        "difference": largest,
        "latency_ms": latency,
        "megabytes": size,
        "scores": _of_first_row(config, over_http, offline),
    }
    (outputs["infra_blessing"] / layout.INFRA).write_text(json.dumps(found) + "\n")
    request = json.dumps({"instances": [examples.json_row(raw)]})
    (outputs["infra_blessing"] / layout.REQUEST).write_text(request + "\n")
    notes = [f"not blessed: {reason}" for reason in reasons]
    if blessed:
        notes = [
            f"served scores are within {largest:.1e} of the offline scores; "
            f"{size:.1f} MB, {latency:.1f} ms a row over HTTP"
        ]
    return {**found, "blessed": blessed, "notes": notes}


def _head(split: Path, rows: int) -> pa.RecordBatch:
    """The first rows of a split, as one batch."""
    batches = list(examples.read_batches(split, stop=rows))
    if not batches:
        raise PipelineError(
            f"a check of the served model needs rows. Received: none in {split}. Make "
            "the test split larger: data.split"
        )
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


def _files(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file, which tell whether one has changed."""
    stats = {str(file): file.stat() for file in path.rglob("*") if file.is_file()}
    return sorted((name, s.st_size, s.st_mtime_ns) for name, s in stats.items())


def _beyond(config: Config, size: float, latency: float | None) -> Iterator[str]:
    """Tells which limits of `infra` are not held."""
    for key, limit, value, unit in (
        ("max_megabytes", config.infra.max_megabytes, size, "MB"),
        ("max_latency_ms", config.infra.max_latency_ms, latency, "ms"),
    ):
        if limit is not None and value is not None and value > limit:
            yield f"infra.{key}: at most {limit:g} {unit} allowed, found {value:.3g}"


def _judge(
    config: Config, answer: Answer, offline: Arrays, is_logged: bool
) -> tuple[float | None, list[str]]:
    """The largest difference to the offline scores, and the reasons against an answer.

    Args:
        config: The pipeline's config.
        answer: Of one signature.
        offline: {task: (rows,)}.
        is_logged: Whether it was asked for the logged rows.
    """
    if isinstance(answer.outputs, str):
        return None, [answer.outputs]
    numbers = [a for a in answer.outputs.values() if a.dtype.kind == "f"]
    if not all(np.isfinite(array).all() for array in numbers):
        what = "logged rows" if is_logged else "empty inputs"
        return None, [f"an output is not finite for {what}"]
    if not is_logged:
        return None, []
    if answer.how == "for one user":
        offline = {name: np.zeros_like(scores) for name, scores in offline.items()}
    served = _by_task(config, answer)
    missing = []
    if answer.signature in (saved_model.DEFAULT, "examples", "transformed"):
        wanted = [name for task in config.tasks for name in task.outputs]
        missing = [name for name in wanted if name not in served]
    difference, reasons = _compare(config, served, offline)
    return difference, [f"there is no output {name!r}" for name in missing] + reasons


def _of_first_row(
    config: Config, answers: Sequence[Answer], offline: Arrays
) -> dict[str, tuple[float, float]]:
    """{task: (served, offline) score}, as far as the default signature has answered."""
    found = {}
    for answer in answers:
        if answer.signature == saved_model.DEFAULT and not isinstance(
            answer.outputs, str
        ):
            for name, scores in _by_task(config, answer).items():
                if name in offline:
                    found[name] = float(scores[0]), float(offline[name][0])
    return found


def _by_task(config: Config, answer: Answer) -> Arrays:
    """{task: scores (rows,)}, whatever the API that the signature is for."""
    outputs = answer.outputs
    if "classes" in outputs:
        names = [name.decode() for name in np.asarray(outputs["classes"][0], "S")]
        return dict(zip(names, outputs["scores"].T, strict=True))
    if set(outputs) == {"outputs"}:
        name = answer.signature.removeprefix("regress_")
        if name == "regress":
            (name,) = [task.name for task in config.tasks if task.kind != "binary"]
        outputs = {name: outputs["outputs"]}
    return {name: np.asarray(array).reshape(-1) for name, array in outputs.items()}


def _compare(config: Config, served: Arrays, offline: Arrays) -> tuple[float, list]:
    """The largest difference to the offline scores, and what is not within limits."""
    largest, reasons = 0.0, []
    kinds = {name: task.kind for task in config.tasks for name in task.outputs}
    for output, kind in kinds.items():
        if output not in served:
            continue
        scores = served[output].astype(np.float64)
        expected = offline[output][: len(scores)].astype(np.float64)
        difference = np.abs(scores - expected)
        if kind != "binary":
            difference /= np.maximum(1.0, np.abs(expected))
        worst = int(np.argmax(difference))
        if not difference[worst] <= TOLERANCE:
            reasons.append(
                f"{output} must be within {TOLERANCE:g} of the offline scores. Row "
                f"{worst}: served {scores[worst]:.6g}, offline {expected[worst]:.6g}. "
                "Export the model again with the transform it was trained with"
            )
        largest = max(largest, difference[worst])
    return float(largest), reasons
