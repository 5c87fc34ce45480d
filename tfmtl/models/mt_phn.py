"""MT-PHN: parallel heterogeneous experts under MMoE's gates."""

import keras

from tfmtl.layers.structures.phn import PHN
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
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        public: List of the experts that all tasks share: names of interactions, see
            `tfmtl.layers.interaction`, or dicts {"name": name, **options}. Defaults to
            three DNNs.
        private: List of the experts that each task has for itself; may be empty.
            Defaults to ("parallel_cross", "field_interaction"), the paper's
            choice.
        units: Tuple of integers. Layer widths of a "dnn" without options of its own.
            Defaults to (256, 128).
        depth: Integer. Layers of a "parallel_cross" or "field_interaction" without
            options of its own. Defaults to 3.
        heads: Integer. Attention heads of the soft selections, or 0 for no selection.
            Defaults to 2.
        mappings: Strings out of "raw", "sin" and "cos". Defaults to ("raw",).
        name: String. Defaults to "mt_phn".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.PHN` for the structure.

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519), table I.
    """

    def __init__(
        self,
        features,
        tasks,
        public=("dnn", "dnn", "dnn"),
        private=("parallel_cross", "field_interaction"),
        units=(256, 128),
        depth=3,
        heads=2,
        mappings=("raw",),
        name="mt_phn",
        **kwargs,
    ):
        sharing = PHN(
            [task.name for task in tasks],
            public,
            private,
            units,
            depth,
            heads,
            mappings,
            gates="input",
            coefficient=None,
            fields=[feature.name for feature in features],
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
