"""Calibration: predictions that are right on average, fitted after the training.

A loss need not be least where a prediction is the mean, and a model that has learnt
from sampled rows, or long ago, predicts another rate than there is. A calibration maps
the predictions of one task to better ones without changing their order:

    scale      p' = s p
    platt      logit p' = a logit p + b,  a > 0
    isotonic   p' = f(p),  f the best function that rises

It is fitted on rows that the model has not learnt from, by `model.calibrate`.
"""

from tfmtl.calibration.fitting import calibrate
from tfmtl.calibration.isotonic import Isotonic
from tfmtl.calibration.layers import Calibration, Platt, Scale

OF_KIND = {
    "binary": ("none", "platt", "isotonic"),
    "regression": ("none", "scale", "isotonic"),
    "count": ("none", "scale", "isotonic"),
}

__all__ = ["OF_KIND", "Calibration", "Isotonic", "Platt", "Scale", "calibrate", "make"]


def make(task) -> Calibration | None:
    """Returns a new calibration of the task; None if it is to have none."""
    name = f"{task.name}_calibration"
    if task.calibration == "isotonic":
        return Isotonic(1.0 if task.kind == "binary" else None, name=name)
    methods = {"scale": Scale, "platt": Platt}
    return methods[task.calibration](name=name) if task.calibration in methods else None
