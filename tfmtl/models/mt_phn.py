"""MT-PHN: parallel heterogeneous experts under MMoE's gates."""

import keras

from tfmtl import layers
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class MTPHN(MultiTaskModel):
    """The Multi-Task Parallel Heterogeneous Network: DEPHN before its own additions.

    The experts of DEPHN, but gates that depend on the input, softmax(W x) as in MMoE,
    no mapping and no virtual gradient. The DEPHN paper uses it to choose which experts
    are shared, `public`, and which belong to a task, `private`.

    Deviations from the paper: MMoE sums the experts up; experts of several widths
    cannot be, so they stand side by side, each times its weight, as in DEPHN's eq. 4.
    Tower, sizes and the sum of logits are as in `DEPHN`.

    Args:
        mappings: Strings out of "raw", "sin" and "cos". Defaults to ("raw",).

    See Also: `tfmtl.layers.PHN` for the structure.

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519), table I.
    """

    architecture = "mt_phn"
    structure = layers.PHN
    given = ("gates", "coefficient", "fields")

    def __init__(self, features, tasks, *, mappings=("raw",), **options):
        super().__init__(
            features,
            tasks,
            mappings=mappings,
            gates="input",
            coefficient=None,
            fields=[feature.name for feature in features],
            **options,
        )
