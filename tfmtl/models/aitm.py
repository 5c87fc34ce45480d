"""AITM: information handed on along the funnel, and calibrated in its order."""

import keras
from keras import ops

from tfmtl import layers
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import check_funnel_order, pairs_in_order
from tfmtl.training.workers import replica_shares


@keras.saving.register_keras_serializable("tfmtl.models")
class AITM(MultiTaskModel):
    """Adaptive Information Transfer Multi-task, for actions that follow each other.

        L = sum_t L_t + alpha sum_t mean over rows of max(p_t - p_{t-1}, 0)

    The calibrator, the second term, holds for a binary task and the one before it among
    those of the same sample space. Each later action implies the earlier one, so its
    probability cannot be larger. That is not so where the spaces differ: P(like given
    click) may exceed P(click). The mean is over the rows with both labels. A regression
    hands on and receives information like any task; the calibrator skips it.

    Deviations from the paper: no dropout and no L2 by default, and the task's own tower
    (`Task(tower=...)`; one hidden layer by default) above the transfer.

    Args:
        tasks: List of `Task`, in funnel order: click before purchase. A task given
            another must stand behind it.
        calibrator: Float. alpha, 0 for none. Defaults to 0.6.

    See Also: `tfmtl.layers.AITM` for the equations of the transfer.

    References:
        - [AITM](https://arxiv.org/abs/2105.08489)
    """

    architecture = "aitm"
    structure = layers.AITM

    def __init__(self, features, tasks, *, calibrator=0.6, **options):
        if not calibrator >= 0:
            raise ValueError(f"calibrator must be >= 0. Received: {calibrator!r}.")
        check_funnel_order(tasks)
        super().__init__(features, tasks, **options)
        self.calibrator = calibrator
        self.ordered = pairs_in_order(self.tasks)

    def compute_other_loss(self, x, y, y_pred, sample_weight=None):
        """Adds the calibrator to the losses of layers."""
        loss = super().compute_other_loss(x, y, y_pred, sample_weight)
        rows = self._rows(x, y, sample_weight) if self.ordered else {}
        weights = {
            (before, task): ops.minimum(rows[before][1], rows[task][1])
            for before, task in self.ordered
        }
        sums = {pair: ops.sum(weight) for pair, weight in weights.items()}
        shares = replica_shares(sums)
        for before, task in self.ordered:
            pair = before, task
            excess = ops.relu(y_pred[task][:, 0] - y_pred[before][:, 0])
            mean = ops.sum(excess * weights[pair]) / ops.maximum(sums[pair], 1e-9)
            loss = loss + self.calibrator * mean * shares[pair]
        return loss
