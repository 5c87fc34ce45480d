"""Which metrics a task has, by name: "auc", "gauc:user_id", "auc/tab"."""

import dataclasses
import re

from tfmtl import _errors
from tfmtl.features import check_domain, of_one_id
from tfmtl.metrics.auc import AUC
from tfmtl.metrics.grouped import (
    MRR,
    NDCG,
    GroupedAUC,
    GroupedMetric,
    GroupedMetricAtK,
    GroupedXAUC,
    HitRate,
    UserAUC,
)
from tfmtl.metrics.pr_auc import PRAUC
from tfmtl.metrics.streaming import StreamingMetric
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

_CLASSES = {
    "auc": AUC,
    "pr_auc": PRAUC,
    "gauc": GroupedAUC,
    "uauc": UserAUC,
    "ndcg": NDCG,
    "mrr": MRR,
    "hit_rate": HitRate,
    "logloss": LogLoss,
    "ne": NormalizedEntropy,
    "calibration": Calibration,
    "mae": MeanAbsoluteError,
    "rmse": RootMeanSquaredError,
    "xauc": XAUC,
    "gxauc": GroupedXAUC,
    "deviance": PoissonDeviance,
    "accuracy": Accuracy,
    "cross_entropy": CrossEntropy,
}
# The first of each is what a task has by default.
OF_KIND = {
    "binary": (
        "auc",
        "pr_auc",
        "gauc",
        "uauc",
        "ndcg",
        "mrr",
        "hit_rate",
        "logloss",
        "ne",
        "calibration",
    ),
    "regression": ("mae", "rmse", "xauc", "gxauc", "ndcg", "calibration"),
    "count": ("mae", "rmse", "xauc", "gxauc", "ndcg", "deviance", "calibration"),
    "classes": ("accuracy", "cross_entropy"),
}
MOST_DOMAINS = 1000


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """A metric by name, with the features whose ids it needs.

    Args:
        name: String. The metric.
        group: String. The feature whose ids are the groups of "gauc" and its like.
        domain: String. The feature for each of whose ids the metric is wanted.
        k: Integer. The places that count, of "ndcg@10" and its like.

    Example:
    >>> MetricSpec.parse("gauc:user_id/tab", kind="binary")
    MetricSpec(name='gauc', group='user_id', domain='tab', k=None)
    """

    name: str
    group: str | None = None
    domain: str | None = None
    k: int | None = None

    @classmethod
    def parse(cls, text: str, kind: str) -> "MetricSpec":
        """Reads "name", "name:group", "name/domain", "name@k:group/domain".

        Raises:
            ValueError: If a task of this kind has no such metric.
        """
        start, slash, domain = str(text).partition("/")
        found, colon, group = start.partition(":")
        name, at, k = found.partition("@")
        _errors.check_choice(f"A metric of a {kind} task", name, OF_KIND[kind])
        places = issubclass(_CLASSES[name], GroupedMetricAtK)
        if places != bool(re.fullmatch(r"[1-9]\d*", k)) or (at and not places):
            raise ValueError(
                "The metrics 'ndcg' and 'hit_rate', and no others, need the number of "
                f"places that count: 'ndcg@10:user_id'. Received: {text!r}."
            )
        if issubclass(_CLASSES[name], GroupedMetric) != bool(group) or (
            colon and not group
        ):
            grouped = [n for n, c in _CLASSES.items() if issubclass(c, GroupedMetric)]
            raise ValueError(
                f"The metrics {', '.join(grouped)}, and no others, need a feature to "
                f"group by: 'gauc:user_id'. Received: {text!r}."
            )
        if slash and not domain:
            raise ValueError(
                f"A metric by domain must name its feature: '{start}/tab'. Received: "
                f"{text!r}."
            )
        return cls(name, group or None, domain or None, int(k) if k else None)

    @property
    def key(self) -> str:
        """The metric's name in the logs, behind that of the task."""
        name = f"{self.name}@{self.k}" if self.k else self.name
        return f"{name}/{self.domain}" if self.domain else name

    def metric(self, task: str, features: list) -> StreamingMetric:
        """Returns a new metric; raises if the features do not have its ids.

        Args:
            task: String. The task's name.
            features: List of features.
        """
        by_name = of_one_id(features)
        for feature in filter(None, (self.group, self.domain)):
            if feature not in by_name:
                raise ValueError(
                    f"The metric {self.name!r} of task {task!r} must name a "
                    f"Categorical among the features. Received: {feature!r}."
                    f"{_errors.nearest(feature, by_name)}"
                )
        domain = check_domain(features, self.domain)
        domains = domain.table_size if domain else None
        if domains and domains > MOST_DOMAINS:
            raise ValueError(
                f"A domain must have at most {MOST_DOMAINS} ids, each of which has a "
                f"metric of its own. Received: feature {self.domain!r} with {domains} "
                f"in a metric of task {task!r}."
            )
        options = {"k": self.k} if self.k else {}
        name = f"{task}_{self.key}"
        return _CLASSES[self.name](name=name, domains=domains, **options)
