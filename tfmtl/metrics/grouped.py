"""Metrics within the rows of a group, such as a user or a request."""

import functools

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.ids import as_integers
from tfmtl.metrics import exact
from tfmtl.metrics.row_sample import RowSample


class GroupedMetric(RowSample):
    """The mean over groups of a metric of each, in bounded memory.

    Exact while the rows fit (65,536 by default). Of more rows, it is the exact metric
    of a sample of the groups, chosen by hash with all their rows: no row is ever
    compared with one of another group, and the standard error is about the standard
    deviation of the groups' values over the root of their number in the sample.

    Args:
        name: String. Defaults to that of the metric.
        domains: Integer. See `StreamingMetric`; a group has a value in each domain.
        capacity: Integer. The most rows kept. Defaults to 65,536.
        dtype: String. Defaults to "float32".

    See Also: `RowSample` for how it is sampled.
    """

    mode = "max"
    default_name = None
    exact_metric = None  # of (label, prediction, group, weight)

    def __init__(self, name=None, domains=None, capacity=1 << 16, dtype="float32"):
        super().__init__(name or self.default_name, domains, capacity, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None, domain=None, *, group):
        """Takes in rows.

        Args:
            y_true: Tensor of shape (batch,) or (batch, 1).
            y_pred: Tensor of the same number of elements.
            sample_weight: Tensor of the same number of elements. Defaults to 1.
            domain: Integer tensor, see `StreamingMetric`.
            group: Tensor of the same number of elements, such as user ids; see
                `tfmtl.ids.as_integers` for its types.
        """
        rows = self.rows(y_true, y_pred, sample_weight, domain)
        group = as_integers(group, "group")
        self.add_keyed(*rows, key=ops.reshape(group, (-1,)))

    def of_sample(self, label, prediction, weight, key):
        """Returns the exact metric; a hash is a group."""
        return type(self).exact_metric(label, prediction, key, weight)


class GroupedMetricAtK(GroupedMetric):
    """A `GroupedMetric` of the k best places.

    Args:
        k: Integer. Places that count. Defaults to 10.
        name: String. Defaults to that of the metric.
        domains: Integer. See `GroupedMetric`.
        capacity: Integer. The most rows kept. Defaults to 65,536.
        dtype: String. Defaults to "float32".
    """

    def __init__(
        self, k=10, name=None, domains=None, capacity=1 << 16, dtype="float32"
    ):
        _errors.check_positive("k", k)
        super().__init__(name, domains, capacity, dtype)
        self.k = k

    def of_sample(self, label, prediction, weight, key):
        """Returns the exact metric; a hash is a group."""
        exact_metric = functools.partial(type(self).exact_metric, k=self.k)
        return exact_metric(label, prediction, key, weight)

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "k": self.k}


@keras.saving.register_keras_serializable("tfmtl")
class GroupedAUC(GroupedMetric):
    """The mean of each user's AUC, weighted by impressions.

        GAUC = sum_u n_u AUC_u / sum_u n_u

    The standard error of a sample is some 0.2 / sqrt(2000) = 0.005 for users of 20 rows
    each, and more where a few users have most rows. A larger `capacity` makes it
    smaller. Arguments are those of `GroupedMetric`.

    Example:
    >>> metric = GroupedAUC()
    >>> metric.update_state([1, 0, 1, 0], [0.2, 0.1, 0.3, 0.4], group=[7, 7, 8, 8])
    >>> float(metric.result())
    0.5

    See Also: `tfmtl.metrics.exact.grouped_auc`.

    References:
        - [Deep Interest Network](https://arxiv.org/abs/1706.06978), eq. 9.
    """

    default_name = "gauc"
    exact_metric = exact.grouped_auc


@keras.saving.register_keras_serializable("tfmtl")
class UserAUC(GroupedMetric):
    """The mean of each user's AUC, each user counted once: `exact.uauc`.

    Arguments are those of `GroupedMetric`.
    """

    default_name = "uauc"
    exact_metric = exact.uauc


@keras.saving.register_keras_serializable("tfmtl")
class GroupedXAUC(GroupedMetric):
    """The mean of each group's XAUC, weighted by its rows: `exact.grouped_xauc`.

    Arguments are those of `GroupedMetric`.
    """

    default_name = "gxauc"
    exact_metric = exact.grouped_xauc


@keras.saving.register_keras_serializable("tfmtl")
class MRR(GroupedMetric):
    """The mean of 1 / the place of each group's first positive row: `exact.mrr`.

    Arguments are those of `GroupedMetric`.
    """

    default_name = "mrr"
    exact_metric = exact.mrr


@keras.saving.register_keras_serializable("tfmtl")
class NDCG(GroupedMetricAtK):
    """The mean of each group's NDCG at k: `exact.ndcg`.

    Arguments are those of `GroupedMetricAtK`.

    Example:
    >>> metric = NDCG(k=2)
    >>> metric.update_state([0, 1, 1], [0.3, 0.2, 0.1], group=[7, 7, 7])
    >>> round(float(metric.result()), 4)
    0.3869
    """

    default_name = "ndcg"
    exact_metric = exact.ndcg


@keras.saving.register_keras_serializable("tfmtl")
class HitRate(GroupedMetricAtK):
    """The share of groups with a positive row among their k best: `exact.hit_rate`.

    Arguments are those of `GroupedMetricAtK`.
    """

    default_name = "hit_rate"
    exact_metric = exact.hit_rate
