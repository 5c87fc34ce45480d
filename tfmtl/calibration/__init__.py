"""Calibration: predictions that are right on average, fitted after the training.

A loss need not be least where a prediction is the mean, and a model that has learnt
from sampled rows, or long ago, predicts another rate than there is. A calibration maps
the predictions of one task to better ones without changing their order:

    scale      p' = s p
    platt      logit p' = a logit p + b,  a > 0
    isotonic   p' = f(p),  f the best function that rises

It is fitted on rows that the model has not learnt from, by `model.calibrate`; with
`Task.calibration_by`, for each domain that has rows enough.
"""

from tfmtl.calibration.fitting import calibrate
from tfmtl.calibration.isotonic import Isotonic
from tfmtl.calibration.layers import Calibration, Platt, Scale
from tfmtl.features import check_domain
from tfmtl.metrics.metric_spec import MOST_DOMAINS

OF_KIND = {
    "binary": ("none", "platt", "isotonic"),
    "classes": ("none",),
    "regression": ("none", "scale", "isotonic"),
    "count": ("none", "scale", "isotonic"),
}

__all__ = ["OF_KIND", "Calibration", "Isotonic", "Platt", "Scale", "calibrate", "make"]


def make(task, features) -> Calibration | None:
    """Returns a new calibration of the task; None if it is to have none.

    Args:
        task: The `Task`.
        features: List of the model's features.

    Raises:
        ValueError: `task.calibration_by` names none that has domains.
    """
    if task.calibration == "none":
        return None
    what = f"calibration_by of task {task.name!r}"
    by = check_domain(features, task.calibration_by, what)
    if by and by.table_size > MOST_DOMAINS:
        raise ValueError(
            f"{what} must have at most {MOST_DOMAINS} ids. Received: feature "
            f"{by.name!r} with {by.table_size}."
        )
    options = {
        "name": f"{task.name}_calibration",
        "domains": by and by.table_size,
    }
    if task.calibration == "isotonic":
        return Isotonic(1.0 if task.kind == "binary" else None, **options)
    return {"scale": Scale, "platt": Platt}[task.calibration](**options)
