"""Metrics of ranking models: in `fit`, batch by batch, and `exact` ones in NumPy."""

from tfmtl.metrics import exact
from tfmtl.metrics.auc import AUC
from tfmtl.metrics.grouped_auc import GroupedAUC
from tfmtl.metrics.sums import (
    Calibration,
    LogLoss,
    MeanAbsoluteError,
    NormalizedEntropy,
    PoissonDeviance,
    RootMeanSquaredError,
)
from tfmtl.metrics.xauc import XAUC

__all__ = [
    "AUC",
    "Calibration",
    "GroupedAUC",
    "LogLoss",
    "MeanAbsoluteError",
    "NormalizedEntropy",
    "PoissonDeviance",
    "RootMeanSquaredError",
    "XAUC",
    "exact",
]
