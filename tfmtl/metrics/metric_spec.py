"""Which metrics a task has, by name: "auc", "gauc:user_id", "auc/tab"."""

import dataclasses

from tfmtl import _errors
from tfmtl.features import check_domain, of_one_id
from tfmtl.metrics.auc import AUC
from tfmtl.metrics.grouped_auc import GroupedAUC
from tfmtl.metrics.streaming import StreamingMetric
from tfmtl.metrics.sums import (
    Calibration,
    LogLoss,
    MeanAbsoluteError,
    NormalizedEntropy,
    PoissonDeviance,
    RootMeanSquaredError,
)
from tfmtl.metrics.xauc import XAUC

_CLASSES = {
    "auc": AUC,
    "gauc": GroupedAUC,
    "logloss": LogLoss,
    "ne": NormalizedEntropy,
    "calibration": Calibration,
    "mae": MeanAbsoluteError,
    "rmse": RootMeanSquaredError,
    "xauc": XAUC,
    "deviance": PoissonDeviance,
}
# The first of each is what a task has by default.
OF_KIND = {
    "binary": ("auc", "gauc", "logloss", "ne", "calibration"),
    "regression": ("mae", "rmse", "xauc", "calibration"),
    "count": ("mae", "rmse", "xauc", "deviance", "calibration"),
}
MOST_DOMAINS = 1000


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """A metric by name, with the features whose ids it needs.

    Args:
        name: String. The metric.
        group: String. The feature whose ids are the groups of "gauc".
        domain: String. The feature for each of whose ids the metric is wanted.

    Example:
    >>> MetricSpec.parse("gauc:user_id/tab", kind="binary")
    MetricSpec(name='gauc', group='user_id', domain='tab')
    """

    name: str
    group: str | None = None
    domain: str | None = None

    @classmethod
    def parse(cls, text: str, kind: str) -> "MetricSpec":
        """Reads "name", "name:group", "name/domain" or "name:group/domain".

        Raises:
            ValueError: If a task of this kind has no such metric.
        """
        start, slash, domain = str(text).partition("/")
        name, colon, group = start.partition(":")
        _errors.check_choice(f"A metric of a {kind} task", name, OF_KIND[kind])
        if (name == "gauc") != bool(group) or (colon and not group):
            raise ValueError(
                "The metric 'gauc', and no other, needs a feature to group by: "
                f"'gauc:user_id'. Received: {text!r}."
            )
        if slash and not domain:
            raise ValueError(
                f"A metric by domain must name its feature: '{start}/tab'. Received: "
                f"{text!r}."
            )
        return cls(name, group or None, domain or None)

    @property
    def key(self) -> str:
        """The metric's name in the logs, behind that of the task."""
        return f"{self.name}/{self.domain}" if self.domain else self.name

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
        return _CLASSES[self.name](name=f"{task}_{self.key}", domains=domains)
