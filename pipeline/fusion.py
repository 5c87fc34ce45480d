"""Chooses `export.fused_score` on the valid split, for a goal and constraints.

    examples (valid) -> the newest model's scores -> lists of one group each
        half of the clusters: the search       the other half: what it is worth

What is chosen is the luckiest of many on the rows it is chosen on; so half of the users
(`evaluate.group`, else the group itself) take no part in the search, and gains and
verdicts are theirs. The test split is left to the Evaluator.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import examples, layout, saved_model
from pipeline.config import Config, Task, nearest
from pipeline.errors import PipelineError
from pipeline.logs.values.column_types import is_numeric
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.lineage import Lineage
from pipeline.workspace.trained import trained
from tfmtl import fusion

SPLIT = "valid"


class Wanted(NamedTuple):
    """What is looked for.

    `goal`, `at_least`, `at_most`: see `tfmtl.fusion.search`; names are tasks, or other
    columns of numbers in the examples. `group`: the column of what a list is. `form`,
    `top`, `seed`, `tries`: see `tfmtl.fusion`. `rows`: about how many rows to take at
    most, as whole groups.
    """

    goal: Mapping[str, float]
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    group: str
    form: str = "product"
    top: int = 10
    rows: int = 1_000_000
    tries: int = 600
    seed: int = 0


class Chosen(NamedTuple):
    """What was found.

    `current`: the weights that it is compared with. `gains`: of the groups that took no
    part in the search. `groups`, `rows`: how many were searched on, and confirmed on.
    """

    model: Path
    current: Mapping[str, float]
    found: fusion.Found
    gains: Mapping[str, fusion.Gain]
    groups: tuple[int, int]
    rows: tuple[int, int]

    def verdict(self, name: str, wanted: Wanted) -> str:
        """Says of a constraint: "kept", "broken", or "open", neither being proven."""
        gain = self.gains[name]
        low, high = wanted.at_least.get(name, 0), wanted.at_most.get(name, np.inf)
        if gain.high < low or gain.low > high:
            return "broken"
        return "kept" if gain.low >= low and gain.high <= high else "open"


def choose(config: Config, wanted: Wanted) -> Chosen:
    """Chooses weights with the newest model of a workspace.

    Raises:
        PipelineError: There is no model, a name is not known, too few groups, or no
            weights meet the constraints.
    """
    model, split = _newest(config)
    schema = pq.read_schema(examples.shards(split)[0])
    tasks = [task.name for task in config.tasks]
    known = tasks + [field.name for field in schema if is_numeric(field.type)]
    for name in [*wanted.goal, *wanted.at_least, *wanted.at_most]:
        if name not in known:
            raise PipelineError(
                f"--goal, --keep: {name!r} is neither a task nor a column of numbers."
                f"{nearest(name, known)}"
            )
    predicted = saved_model.signatures(model)[saved_model.DEFAULT].outputs
    if lacking := sorted(set(tasks) - set(predicted)):
        raise PipelineError(
            f"the model must predict every task. {model} lacks {lacking}. Train it "
            "with this config"
        )
    cluster = config.evaluate.group or wanted.group
    for column in (wanted.group, cluster):
        if column not in schema.names:
            raise PipelineError(
                f"--group: column {column!r} is not in the examples."
                f"{nearest(column, schema.names)}"
            )
    lists, clusters = (_codes(split, column) for column in (wanted.group, cluster))
    searched, confirmed = _halves(lists, clusters, wanted)
    used = searched | confirmed
    scores, earned = _score(config, model, split, used, wanted)

    def half(of: np.ndarray) -> fusion.Lists:
        here = of[used]
        return fusion.Lists(
            {name: values[here] for name, values in scores.items()},
            {name: values[here] for name, values in earned.items()},
            lists[of],
            cluster=clusters[of],
            form=wanted.form,
            top=wanted.top,
            seed=wanted.seed,
        )

    now = config.export.fused_score
    comparable = now is not None and now.form == wanted.form
    current = now.weights if comparable else dict.fromkeys(tasks, 1.0)
    try:
        found = fusion.search(
            half(searched),
            wanted.goal,
            at_least=wanted.at_least,
            at_most=wanted.at_most,
            current=current,
            tries=wanted.tries,
            seed=wanted.seed,
        )
        gains = half(confirmed).gains(found.chosen.weights, current)
    except ValueError as error:
        raise PipelineError(str(error)) from error
    return Chosen(
        model,
        current,
        found,
        gains,
        tuple(len(np.unique(lists[of])) for of in (searched, confirmed)),
        tuple(int(of.sum()) for of in (searched, confirmed)),
    )


def record(chosen: Chosen, wanted: Wanted) -> dict:
    """What fusion.json holds."""
    points = chosen.found.points
    return {
        **wanted._asdict(),
        "model": str(chosen.model),
        "split": SPLIT,
        "current": dict(chosen.current),
        "weights": chosen.found.chosen.weights,
        "searched": {
            "groups": chosen.groups[0],
            "rows": chosen.rows[0],
            "ratios": chosen.found.chosen.ratios,
        },
        "confirmed": {
            "groups": chosen.groups[1],
            "rows": chosen.rows[1],
            "gains": {
                name: {
                    key: None if value != value else value  # NaN
                    for key, value in dataclasses.asdict(gain).items()
                }
                for name, gain in chosen.gains.items()
            },
        },
        "points": [dataclasses.asdict(point) for point in points],
        "front": [points.index(point) for point in chosen.found.front],
    }


def _newest(config: Config) -> tuple[Path, Path]:
    """The newest model, and the split of the examples that it was trained with."""
    store = workspaces.metadata(Path(config.workspace))
    graph = Lineage(store)
    for model in trained(store):
        (transform,) = (
            source
            for source in graph.sources(model.training.id)
            if graph.executions[source].component == "Transform"
        )
        read = {a.name: a.path for a in graph.inputs[transform]}
        if not mirror.present(read["examples"]):
            continue
        split = layout.split(mirror.pull(read["examples"]), SPLIT)
        if split.is_dir() and examples.count_rows(split):
            mirror.pull(model.artifact)
            return model.serving, split
    raise PipelineError(
        f"a trained model and the rows of its {SPLIT} split are needed. Received: "
        f"none in {config.workspace}. Run the pipeline first"
    )


def _codes(split: Path, column: str) -> np.ndarray:
    """Numbers the values of a column: int (rows,), -1 where missing."""
    batches = examples.read_batches(split, columns=[column], dictionaries=True)
    return examples.codes([batch.column(0) for batch in batches])


def _halves(
    lists: np.ndarray, clusters: np.ndarray, wanted: Wanted
) -> tuple[np.ndarray, np.ndarray]:
    """The rows to search on, and to confirm on: bool (rows,) each, of whole clusters.

    Rows without a list or a cluster are in neither. A list of several clusters is cut.
    """
    usable = (lists >= 0) & (clusters >= 0)
    names, of_row = np.unique(clusters[usable], return_inverse=True)
    if len(names) < 4:
        raise PipelineError(
            "--group: rows of at least 4 values are needed, half of them to confirm "
            f"what the others find. Received: {len(names)}"
        )
    place = np.random.default_rng(wanted.seed).permutation(len(names)) / len(names)
    end = min(1.0, wanted.rows / usable.sum())
    of_rows = np.full(len(usable), np.inf)
    of_rows[usable] = place[of_row]
    return of_rows < end / 2, (of_rows >= end / 2) & (of_rows < end)


def _score(
    config: Config, model: Path, split: Path, used: np.ndarray, wanted: Wanted
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Predictions of all tasks, and what rows earn: {name: float (used rows,)}."""
    scorer = saved_model.Scorer(model)
    tasks = {task.name: task for task in config.tasks}
    others = {*wanted.goal, *wanted.at_least, *wanted.at_most} - tasks.keys()
    scores: dict[str, list] = {name: [] for name in tasks}
    earned: dict[str, list] = {name: [] for name in [*tasks, *sorted(others)]}
    start = 0
    for batch in examples.read_batches(split):
        here = used[start : start + batch.num_rows]
        start += batch.num_rows
        if not here.any():
            continue
        batch = batch.filter(pa.array(here))
        for name, values in scorer(batch).items():
            if name in scores:
                scores[name].append(values)
        labels = examples.labels(batch, config.tasks)
        for name, task in tasks.items():
            inside = examples.in_space(labels, task, config.tasks)
            earned[name].append(np.where(inside, _label(labels, task), 0.0))
        for name in others:
            earned[name].append(examples.floats(batch.column(name)))
    return tuple(
        {name: np.concatenate(parts) for name, parts in found.items()}
        for found in (scores, earned)
    )


def _label(labels: Mapping[str, np.ndarray], task: Task) -> np.ndarray:
    label = labels[task.label_column]
    return label * labels[task.row_weight] if task.row_weight else label
