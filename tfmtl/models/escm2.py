"""ESCM2: ESMM whose conditional probabilities are held by a counterfactual risk."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.tower import Tower
from tfmtl.models.esmm import ESMM
from tfmtl.training.workers import replica_shares

RISKS = ("dr", "ips")
_SMALLEST = 1e-30  # of a probability that divides; float32 goes on to 1e-38


@keras.saving.register_keras_serializable("tfmtl.models")
class ESCM2(ESMM):
    """Entire Space Counterfactual Multi-task Model: ESMM and a risk of pCVR.

        L = L_ESMM + lambda_c sum_t weight_t R_t
        R_IPS = mean of o delta / p_o                                     "ips"
        R_DR = mean of d + o (delta - d) / p_o + o (delta - d)^2 / p_o    "dr"

    Means are over the entire space, as those of ESMM. t is any task that has a parent
    in the funnel; o is 1 where the parent happened, p_o its predicted probability, the
    propensity, delta = bce(pCVR, y), and d what the imputation, a network of its own,
    thinks delta is: so the rows that were not clicked are heard without a label. Of the
    rows clicked, unlikely ones count more, which makes the risk that of all impressions
    (1 / p_o is cut at `clip`, for its variance). No gradient flows through p_o, so that
    the risk does not bend the click's own prediction.

    ESMM alone overestimates pCVR, and does not use that a conversion needs a click.
    What the tasks return is as in ESMM. R is part of the loss in evaluation too.

    Deviations from the paper: as those of ESMM. The imputation is positive by a
    softplus; in public code it is a sigmoid, but bce has no upper limit. Its network
    reads the embedding, without `interactions` or `epnet`.

    Args:
        risk: "dr", doubly robust, or "ips", inverse propensity scores. Defaults to
            "dr".
        risk_weight: Float. lambda_c, 0 for ESMM. Defaults to 0.5.
        clip: Float, at least 1. The largest 1 / p_o. Defaults to 15.
        imputation_units: Tuple of integers. Hidden layers of each imputation, of "dr".
            Defaults to (64,).

    See Also: `ESMM` for the funnel.

    References:
        - [ESCM2](https://arxiv.org/abs/2204.05125)
    """

    architecture = "escm2"

    def __init__(
        self,
        features,
        tasks,
        *,
        risk="dr",
        risk_weight=0.5,
        clip=15.0,
        imputation_units=(64,),
        **options,
    ):
        _errors.check_choice("risk", risk, RISKS)
        _errors.check_number("risk_weight", risk_weight)
        _errors.check_number("clip", clip, 1)
        # The base calls the model, so these come first.
        self.risk, self.risk_weight, self.clip = risk, risk_weight, clip
        self._imputation_units = imputation_units
        super().__init__(features, tasks, **options)

    @property
    def _followers(self):
        """{task that follows another: that other}."""
        return {name: parent for name, parent in self.parents.items() if parent}

    def make_embedding(self):
        """Returns the embedding; makes the imputations, which read it."""
        embedding = super().make_embedding()
        widths = embedding.compute_output_shape({"": (None,)}).values()
        self.imputations = {
            name: Tower(self._imputation_units, name=f"{name}_imputation")
            for name in (self._followers if self.risk == "dr" else ())
        }
        for imputation in self.imputations.values():  # not called but in training
            imputation.build((None, sum(width for _, width in widths)))
        return embedding

    def above(self, vectors, inputs, training=None):
        """Adds to predictions that a loss is taken of what the imputations think."""
        predictions = super().above(vectors, inputs, training)
        if training or self._with_logits:
            for name, imputation in self.imputations.items():
                x = ops.concatenate(list(vectors.values()), axis=-1)
                imputed = ops.softplus(ops.cast(imputation(x), "float32"))
                predictions[name] = ops.concatenate([predictions[name], imputed], -1)
        return predictions

    def compute_other_loss(self, x, y, y_pred, sample_weight=None):
        """Adds the risks; "dr" has none of predictions outside of `fit` and `evaluate`.

        They hold no imputations.
        """
        loss = super().compute_other_loss(x, y, y_pred, sample_weight)
        rows = self.loss_rows(x, y, y_pred, sample_weight)
        sums = {name: ops.sum(rows[name][2]) for name in self._followers}
        shares = replica_shares(sums)
        for task in self.tasks:
            name = task.name
            imputed = y_pred[name][:, 1:]  # (B, 0) where there are none
            if name not in sums or (name in self.imputations and not imputed.shape[1]):
                continue
            risks = self._risks(rows[name], rows[self._followers[name]], imputed)
            mean = ops.sum(risks * rows[name][2]) / ops.maximum(sums[name], 1e-9)
            loss = loss + self.risk_weight * task.weight * mean * shares[name]
        return loss

    def _risks(self, rows, before, imputed):
        """Returns the risk of each row, (B,), of what is known of the entire space."""
        label, p, _ = rows
        happened, propensity, _ = before
        cvr = p / ops.maximum(propensity, _SMALLEST)
        delta = ops.binary_crossentropy(label, cvr)
        inverse = 1 / ops.maximum(propensity, 1 / self.clip)
        observed = happened * ops.stop_gradient(inverse)
        if not imputed.shape[1]:
            return observed * delta
        error = delta - imputed[:, 0]
        return imputed[:, 0] + observed * (error + ops.square(error))
