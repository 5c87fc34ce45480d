"""The quantiles of a label within each group of rows, for the loss d2q.

One pass over the train split: ranges of rows -> a sketch a group -> merged.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts import examples
from pipeline.beam import results
from pipeline.config import Config, Task
from pipeline.errors import PipelineError
from pipeline.statistics.sketch import Sketch, merge, quantiles, sketch


def levels(
    config: Config,
    task: Task,
    split: Path,
    edges: np.ndarray,
    workers: results.Workers,
) -> list[list[float]]:
    """Returns the quantiles of a task's label in each bucket of `quantile_group`.

    Rows count as in the loss, but that each weighs 1.

    Args:
        config: The pipeline.
        task: The task.
        split: The folder of the train split's examples.
        edges: Where the transform graph cuts the feature into buckets.
        workers: Who computes.

    Returns:
        A row for each id of the feature, the first for rows without a value. One
        without rows has the quantiles of all.

    Raises:
        PipelineError: No row counts.
    """
    of_range = functools.partial(_sketches, config, task, edges)
    found = results.parallel_map(workers, of_range, examples.ranges(split))
    groups = [merge(parts) for parts in zip(*found, strict=True)] if found else []
    whole = merge(groups) if groups else None
    if whole is None or not whole.rows:
        raise PipelineError(
            f"tasks: the loss d2q of {task.name!r} needs labels in the train split. "
            "Received: none in its space"
        )
    return [
        quantiles(group if group.rows else whole, task.quantile_intervals).tolist()
        for group in groups
    ]


def _sketches(
    config: Config,
    task: Task,
    edges: np.ndarray,
    index: int,
    rows: examples.Range,
) -> Sequence[Sketch]:
    """A sketch for each id, of a range of rows."""
    columns = [*examples.label_columns(config.tasks), task.quantile_group]
    labels, groups = [], []
    for batch in rows.batches(list(dict.fromkeys(columns))):
        values: Mapping[str, np.ndarray] = examples.labels(batch, config.tasks)
        inside = examples.in_space(values, task, config.tasks)
        by = examples.floats(batch.column(task.quantile_group))
        known = np.isfinite(by)
        ids = np.where(known, 1 + np.searchsorted(edges, by, side="right"), 0)
        labels.append(values[task.label_column][inside])
        groups.append(ids[inside])
    label = np.concatenate(labels).astype(np.float64)
    group = np.concatenate(groups)
    return [sketch(label[group == i]) for i in range(len(edges) + 2)]
