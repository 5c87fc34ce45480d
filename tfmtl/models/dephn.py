"""DEPHN: heterogeneous experts, and gates whose gradient follows the labels."""

import keras
from keras import ops

from tfmtl import _errors, layers
from tfmtl.layers.blocks.virtual_gradient import (
    CORRELATIONS,
    batch_correlation,
    label_correlation,
)
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class DEPHN(MultiTaskModel):
    """Different Expression Parallel Heterogeneous Network with virtual gradient.

    Every task sees DNN experts that all tasks share, each as it is and through a sine,
    by gates that are plain trainable numbers; and a cross and a field-interaction
    expert of its own. In training, the gradient of a gate is multiplied by how the
    batch's labels of the tasks correlate, given how the tasks' gates differ.

    Deviations from the paper: the task's tower is what `Task` says; the paper's is one
    linear layer, `Task(..., tower=())`. The paper adds the probabilities of the shared
    and the private part, here their logits are added. Form of the mappings, range and
    start of the gates, and all sizes are reconstructions: the paper names them only.

    The virtual gradient acts in `fit` and `train_on_batch`, and in a training step of
    your own inside `model.training_scope(x, y)`. The labels of a pair of
    tasks are compared on the rows that lie in both sample spaces; a label that is
    constant there ("given click", clicks are all 1) correlates with nothing.

    Args:
        coefficient: String. Form of the virtual gradient, one of
            `tfmtl.layers.blocks.virtual_gradient.COEFFICIENTS`, or None for the plain
            gradient. Defaults to "add_sqrt".
        correlation: "pearson" or "cosine", of the batch's labels. Defaults to
            "pearson".

    See Also: `tfmtl.layers.PHN` for the structure,
    `tfmtl.layers.blocks.virtual_gradient` for the gates.

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519)
    """

    architecture = "dephn"
    structure = layers.PHN
    given = ("gates", "fields")

    def __init__(self, features, tasks, *, correlation="pearson", **options):
        _errors.check_choice("correlation", correlation, CORRELATIONS)
        fields = [feature.name for feature in features]
        super().__init__(features, tasks, gates="global", fields=fields, **options)
        self.correlation = correlation

    def training_scope(self, x, y, sample_weight=None):
        """Lets the gates of a training step know how the labels correlate."""
        rows = self._rows(x, y, sample_weight)
        labels, weights = zip(*(rows[task.name] for task in self.tasks), strict=True)
        correlation = label_correlation(
            ops.stack(labels), ops.stack(weights) > 0, self.correlation
        )
        return batch_correlation(correlation)

    def train_step(self, data):
        """Runs a training step with the virtual gradient."""
        with self.training_scope(*keras.utils.unpack_x_y_sample_weight(data)):
            return super().train_step(data)
