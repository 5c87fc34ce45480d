"""The AUC within each user's rows."""

import keras
from keras import ops

from tfmtl.ids import as_integers
from tfmtl.metrics.exact import grouped_auc
from tfmtl.metrics.row_sample import RowSample


@keras.saving.register_keras_serializable("tfmtl")
class GroupedAUC(RowSample):
    """The mean of each user's AUC, weighted by impressions, in bounded memory.

        GAUC = sum_u n_u AUC_u / sum_u n_u

    Exact while the rows fit (65,536 by default). Of more rows, it is the exact GAUC of
    a sample of the users, chosen by hash with all their rows: no pair of rows of two
    users is ever compared, and the standard error is about

        (standard deviation of AUC_u) / sqrt(users with both classes in the sample),

    some 0.2 / sqrt(2000) = 0.005 for users of 20 rows each, and more where a few users
    have most rows. A larger `capacity` makes it smaller.

    Args:
        name: String. Defaults to "gauc".
        domains: Integer. See `StreamingMetric`; a user has an AUC in each domain.
        capacity: Integer. The most rows kept. Defaults to 65,536.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = GroupedAUC()
    >>> metric.update_state([1, 0, 1, 0], [0.2, 0.1, 0.3, 0.4], group=[7, 7, 8, 8])
    >>> float(metric.result())
    0.5

    See Also: `tfmtl.metrics.exact.grouped_auc`, and `RowSample` for how it is sampled.

    References:
        - [Deep Interest Network](https://arxiv.org/abs/1706.06978), eq. 9.
    """

    mode = "max"

    def __init__(self, name="gauc", domains=None, capacity=1 << 16, dtype="float32"):
        super().__init__(name, domains, capacity, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None, domain=None, *, group):
        """Takes in rows.

        Args:
            y_true: Tensor of shape (batch,) or (batch, 1), labels 0 or 1.
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
        """Returns the exact GAUC; a hash is a user."""
        return grouped_auc(label, prediction, key, weight)
