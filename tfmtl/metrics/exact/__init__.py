"""Exact metrics of rows that are all at hand, in NumPy.

Ties count as half, weights multiply, and rows of weight 0 are left out. What is not
defined, such as the AUC of a single class, is NaN: never a number that looks like a
result.
"""

from tfmtl.metrics.exact.errors import (
    accuracy,
    calibration,
    calibration_bins,
    expected_calibration_error,
    log_loss,
    mae,
    normalized_entropy,
    poisson_deviance,
    rmse,
)
from tfmtl.metrics.exact.gain import direction, mtl_gain
from tfmtl.metrics.exact.grouped import grouped_xauc, hit_rate, mrr, ndcg, uauc
from tfmtl.metrics.exact.ranking import (
    auc,
    grouped_auc,
    pr_auc,
    precision_recall,
    ranks,
    roc,
    spearman,
)
from tfmtl.metrics.exact.xauc import xauc

__all__ = [
    "accuracy",
    "auc",
    "calibration",
    "calibration_bins",
    "direction",
    "expected_calibration_error",
    "grouped_auc",
    "grouped_xauc",
    "hit_rate",
    "log_loss",
    "mae",
    "mrr",
    "mtl_gain",
    "ndcg",
    "normalized_entropy",
    "poisson_deviance",
    "pr_auc",
    "precision_recall",
    "ranks",
    "rmse",
    "roc",
    "spearman",
    "uauc",
    "xauc",
]
