"""How the labels of two tasks go together: Pearson's correlation, in parts that add up.

Of the rows that count for both tasks: both labels are known, in both sample spaces.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.artifacts.examples import in_space
from pipeline.config import Task
from pipeline.statistics.columns import Sums


@dataclass(frozen=True)
class LabelPair(Sums):
    """Rows, and the sums of a, b, a^2, b^2 and ab over them."""

    rows: int
    a: Fraction
    b: Fraction
    aa: Fraction
    bb: Fraction
    ab: Fraction

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray) -> LabelPair:
        """Reads the labels of two tasks, float64 (rows,)."""
        parts = (a, b, a * a, b * b, a * b)
        return cls(len(a), *(Fraction(float(part.sum())) for part in parts))

    @property
    def correlation(self) -> float | None:
        """Pearson's r; None where a label has one value only."""
        var_a = self.rows * self.aa - self.a**2
        var_b = self.rows * self.bb - self.b**2
        if var_a <= 0 or var_b <= 0:
            return None
        covariance = float(self.rows * self.ab - self.a * self.b)
        return covariance / math.sqrt(var_a) / math.sqrt(var_b)


def pairs(
    values: Mapping[str, np.ndarray], tasks: Sequence[Task]
) -> dict[tuple[str, str], LabelPair]:
    """Reads what `examples.labels` made of a batch; {(task, later task): its part}."""
    labels = {task.name: values[task.label_column].astype(np.float64) for task in tasks}
    counts = {
        task.name: in_space(values, task, tasks) & np.isfinite(labels[task.name])
        for task in tasks
    }
    result = {}
    for one, other in itertools.combinations(labels, 2):
        both = counts[one] & counts[other]
        result[one, other] = LabelPair.of(labels[one][both], labels[other][both])
    return result
