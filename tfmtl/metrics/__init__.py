"""Metrics of ranking models."""

from tfmtl.metrics.auc import AUC

__all__ = ["AUC"]
