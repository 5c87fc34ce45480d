"""Metrics of ranking models: in `fit`, batch by batch, and `exact` ones in NumPy."""

from tfmtl.metrics import exact
from tfmtl.metrics.auc import AUC
from tfmtl.metrics.grouped import (
    MRR,
    NDCG,
    GroupedAUC,
    GroupedXAUC,
    HitRate,
    UserAUC,
)
from tfmtl.metrics.pr_auc import PRAUC
from tfmtl.metrics.sums import (
    Accuracy,
    Calibration,
    CrossEntropy,
    LogLoss,
    MeanAbsoluteError,
    NormalizedEntropy,
    PoissonDeviance,
    RootMeanSquaredError,
)
from tfmtl.metrics.xauc import XAUC

__all__ = [
    "AUC",
    "Accuracy",
    "Calibration",
    "CrossEntropy",
    "GroupedAUC",
    "GroupedXAUC",
    "HitRate",
    "LogLoss",
    "MRR",
    "MeanAbsoluteError",
    "NDCG",
    "NormalizedEntropy",
    "PRAUC",
    "PoissonDeviance",
    "RootMeanSquaredError",
    "UserAUC",
    "XAUC",
    "exact",
]
