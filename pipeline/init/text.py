"""A drafted config as YAML, with comments that say what was seen and guessed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.config import environment
from pipeline.config.reading import Reading
from pipeline.init.draft import LABEL, Draft
from pipeline.init.features import Choice
from pipeline.init.labels import Label
from pipeline.init.profiles import Profile
from pipeline.init.sample import Sample
from pipeline.init.spaces import in_space

# Rows -> how they are trained on: the fewer, the smaller the batches.
_SMALL = 100_000
_TRAINING = (
    (5_000, {"epochs": 10, "batch_size": 64}),
    (_SMALL, {"epochs": 5, "batch_size": 256}),
    (np.inf, {"epochs": 3, "batch_size": 1024}),
)
# Rows of the rarer class; a tenth tests. With fewer, a weak model looks like chance.
_RARE = 3_000


def write(draft: Draft, sample: Sample, output: Path, workspace: str | None) -> str:
    """Returns the YAML.

    Args:
        draft: What was guessed.
        sample: What was looked at.
        output: The file that it is for; the pipeline gets its name.
        workspace: Where artifacts go. Defaults to workspace/NAME.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", output.stem).strip(".-") or "pipeline"
    workspace = workspace or f"workspace/{name}"
    every = "all rows" if sample.whole else "a sample"
    files = "1 file" if sample.files == 1 else f"{sample.files:,} files"
    lines = [
        f"# Written by `python -m pipeline init`: {sample.read:,} rows of {files} were",
        f"# read, {every}. A comment says what was seen or guessed; change what is",
        "# wrong. Columns that stand behind a # are not used.",
        f"name: {_flow(name)}",
        f"workspace: {_flow(workspace)}  # where artifacts go",
        "",
        *_data(draft, sample),
        "",
        "features:",
        *(
            _feature(c, draft.columns[c.name])
            for c in draft.choices
            if c.reason != LABEL
        ),
    ]
    if draft.domain:
        lines += [_line("domain", draft.domain, draft.notes["domain"])]
    lines += ["", "tasks:", *(_task(a, draft, sample) for a in draft.labels), ""]
    lines += ["model: {architecture: ple}", _train(sample)]
    lines += _evaluate(draft, sample)
    lines += [f"push: {{destination: {_flow(_destination(workspace, name))}, keep: 3}}"]
    return "\n".join(lines) + "\n"


def _destination(workspace: str, name: str) -> str:
    return f"{workspace}/serving_models/{name}"


def _data(draft: Draft, sample: Sample) -> Iterator[str]:
    yield "data:"
    if isinstance(sample.logs, dict):
        yield "  logs:"
        for split, logs in sample.logs.items():
            yield f"    {split}: {_flow(logs)}"
    elif len(sample.logs) > 3:
        yield "  logs:"
        yield from (f"    - {_flow(log)}" for log in sample.logs)
    else:
        yield f"  logs: {_flow(sample.logs)}"
    for key, value in _reading(sample.reading).items():
        note = ""
        if key == "columns":
            note = "the files have no header; names of your own are better"
            if value[0] != "column_1":  # the header lacks the last one alone
                note = f"{value[-1]} is behind a delimiter that ends the rows"
        yield "  " + _line(key, value, note)
    if sample.tables:
        yield "  tables:  # one row for each value of the key; `time` where rows change"
    for table in sample.tables:
        entry = {"name": table.name, "logs": table.logs, **_reading(table.reading)}
        same = table.of_log == table.key
        entry["key"] = table.key if same else {table.of_log: table.key}
        yield f"    - {_flow(entry)}"
    for key, value in draft.data.items():
        if key == "actions":
            yield f"  actions:  # {draft.notes['data']}"
            yield from (f"    - {_flow(action)}" for action in value)
        elif key != "split":
            yield f"  {_line(key, value)}"
    made = [label for label in draft.labels if label.expression]
    if made:
        yield "  labels:"
        yield from (f"    {_line(a.task, a.expression)}" for a in made)
    yield "  " + _line("split", draft.data["split"], draft.notes["split"])


def _reading(reading: Reading) -> dict[str, Any]:
    """How files are written, as far as it is not as usual."""
    return reading.model_dump(exclude_defaults=True)


def _feature(choice: Choice, p: Profile) -> str:
    if choice.feature is None:
        entry = {"name": choice.name, "kind": "categorical"}
        if p.kind == "number" and not p.is_whole:
            entry["kind"] = "numeric"
        return f"  # - {_flow(entry)}  # {_comment(choice.reason)}"
    seen = [choice.reason] if choice.reason else []
    if choice.feature["kind"] == "categorical":
        seen.insert(0, f"{p.distinct:,} value{'s' * (p.distinct != 1)}")
    elif choice.feature["kind"] == "numeric":
        known = p.numbers[np.isfinite(p.numbers)]
        seen.insert(0, f"{known.min():.4g} to {known.max():.4g}")
    if (missing := 1 - p.known.mean()) > 0:
        seen.append(f"{missing:.1%} missing")
    return f"  - {_flow(choice.feature)}  # {_comment(', '.join(seen))}"


def _task(label: Label, draft: Draft, sample: Sample) -> str:
    entry: dict[str, Any] = {"name": label.task}
    if not label.expression and label.source != label.task:
        entry["label"] = label.source
    if label.kind != "binary":
        entry["kind"] = label.kind
    if label.space:
        entry["space"] = label.space
    if label.kind == "binary" and sample.read <= _SMALL:
        entry["calibration"] = "platt"  # few rows make a model too sure of itself
    known = label.values[in_space(label, draft.labels, draft.columns)]
    seen = f"1 in {100 * known.mean():.3g} % of {len(known):,} rows"
    if label.kind == "regression":
        errors = known**2
        if known.min() >= 0:
            entry["loss"] = "log_mse"
            errors = np.log1p(known) ** 2
        # Of an untrained model; else the others would be lost beside such a loss.
        if (error := float(errors.mean())) > 2:
            entry["weight"] = float(f"{1 / error:.1g}")
        seen = f"{known.min():.4g} to {known.max():.4g}, {known.mean():.4g} on average"
    return f"  - {_flow(entry)}  # {_comment('; '.join([seen, *label.notes]))}"


def _evaluate(draft: Draft, sample: Sample) -> Iterator[str]:
    """What the evaluation must know: whose rows go together, what is too rare."""
    unseen = sample.read / sample.rows.num_rows
    rare = [
        label.task
        for label in draft.labels
        if _informative(label, draft) * unseen < _RARE
    ]
    if not (draft.user or rare):
        return
    yield "evaluate:"
    if draft.user:
        yield "  " + _line("group", draft.user, "rows of a user are not independent")
    if rare:
        note = f"fewer than {_RARE:,} rows with the action: no rule holds a model back"
        yield "  " + _line("exempt", rare, note)


def _informative(label: Label, draft: Draft) -> int:
    """Rows of the rarer class; of a number, all that count."""
    values = label.values[in_space(label, draft.labels, draft.columns)]
    if label.kind != "binary":
        return len(values)
    return int(min(np.sum(values == 1), np.sum(values == 0)))


def _train(sample: Sample) -> str:
    options = next(o for rows, o in _TRAINING if sample.read <= rows)
    return f"train: {_flow({**options, 'patience': 1})}"


def _line(key: str, value: Any, note: str = "") -> str:
    text = f"{key}: {_flow(value)}"
    return f"{text}  # {_comment(note)}" if note else text


def _comment(text: str) -> str:
    """A text that stays on its line."""
    return " ".join(text.split())


def _flow(value: Any) -> str:
    """A value on one line, as YAML has it."""
    if isinstance(value, str) and ("\n" in value or not value.isprintable()):
        text = json.dumps(value)
    else:
        text = yaml.safe_dump(
            value,
            default_flow_style=True,
            width=1e9,
            allow_unicode=True,
            sort_keys=False,
        )
    return environment.escape(text.removesuffix("\n").removesuffix("\n..."))
