"""Sluice networks: stitches between subspaces of the tasks' layers, and skips."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units
from tfmtl.layers.structures.cross_stitch import check_hidden, stitch_matrix

_SUBSPACES = 2


class _Overlap(keras.regularizers.Regularizer):
    """Gives lambda ||G_1' G_2||_F^2 of the weights of the two subspaces."""

    def __init__(self, penalty):
        self.penalty = penalty

    def __call__(self, kernel):
        first, second = ops.split(ops.convert_to_tensor(kernel), _SUBSPACES, axis=1)
        return self.penalty * ops.sum(
            ops.square(ops.matmul(ops.transpose(first), second))
        )


@keras.saving.register_keras_serializable("tfmtl")
class Sluice(Layer):
    """Cross-stitch between halves of the tasks' layers, and a mix of all layers.

        h_k^l = activation(x_k^{l-1} W_k^l + b_k^l) = [h_k1^l, h_k2^l],  x_k^0 = x
        [x_11^l; x_12^l; ...; x_K2^l] = alpha^l [h_11^l; h_12^l; ...; h_K2^l]
        tower_k <- sum_l beta_kl x_k^l
        penalty: lambda sum_k,l ||G_k1^l' G_k2^l||_F^2,  W_k^l = [G_k1^l, G_k2^l]

    Each layer of a task is split into two subspaces: one may be shared and the other
    kept. alpha^l, (2 tasks, 2 tasks), says what flows between subspaces; beta_k, one
    number a layer, which depth the tower reads; both are learnt and the same for all
    rows. The penalty, part of the model's loss, keeps the two subspaces apart.

    Deviations from the paper: dense layers stand for its LSTMs, the same widths in
    each (beta adds layers up). beta starts at 1 / layers, alpha at 0.9 for a
    subspace's own activations with the rest spread evenly, a reconstruction: the
    authors' code has a pattern of .95 and .05 that holds for two tasks only. The
    weight of the penalty is ours as well; they tune it.

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers. Layer widths of each network, all the same and even.
            Defaults to (128, 128).
        penalty: Float. lambda. Defaults to 1e-3.
        own_weight: Float. Diagonal of alpha at the start. Defaults to 0.9.
        activation: String or callable. Defaults to "relu".

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}.

    Example:
    >>> layer = Sluice(["click", "like"], units=(8, 8))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Latent Multi-task Architecture Learning](https://arxiv.org/abs/1705.08142)
    """

    def __init__(
        self,
        tasks,
        units=(128, 128),
        penalty=1e-3,
        own_weight=0.9,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.units = check_hidden(units)
        if len(set(self.units)) > 1 or self.units[0] % _SUBSPACES:
            raise ValueError(
                "units of a sluice network must be even and the same for each layer, "
                f"so that layers can be added up. Received: {self.units}."
            )
        if not penalty >= 0:
            raise ValueError(f"penalty must be >= 0. Received: {penalty!r}.")
        self.penalty = penalty
        _errors.check_ratio("own_weight", own_weight)
        self.own_weight = own_weight
        self.activation = keras.activations.get(activation)
        self.dense = {
            f"{task}_{level}": keras.layers.Dense(
                width,
                activation=self.activation,
                kernel_regularizer=_Overlap(penalty) if penalty else None,
                dtype=self.dtype_policy,
                name=f"{task}_{level}",
            )
            for level, width in enumerate(self.units, start=1)
            for task in self.tasks
        }

    def build(self, input_shape):
        """Creates alpha of each layer and beta, (tasks, layers)."""
        _errors.check_rank(self, input_shape, 2)
        parts = _SUBSPACES * len(self.tasks)
        self.alphas = []
        for level, width in enumerate(self.units, start=1):
            for task in self.tasks:
                self.dense[f"{task}_{level}"].build(input_shape)
            input_shape = (*input_shape[:-1], width)
            self.alphas.append(
                self.add_weight(
                    name=f"alpha_{level}",
                    shape=(parts, parts),
                    initializer=lambda shape, dtype: stitch_matrix(
                        shape[0], self.own_weight, dtype
                    ),
                )
            )
        self.beta = self.add_weight(
            name="beta",
            shape=(len(self.tasks), len(self.units)),
            initializer=keras.initializers.Constant(1 / len(self.units)),
        )

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, units[-1])}."""
        tasks, width = len(self.tasks), self.units[0]
        x = dict.fromkeys(self.tasks, inputs)
        levels = []
        for level, alpha in enumerate(self.alphas, start=1):
            h = [self.dense[f"{task}_{level}"](x[task]) for task in self.tasks]
            for task, units in zip(self.tasks, h, strict=True):
                hidden_units.note(self.dense[f"{task}_{level}"].path, (units, 0))
            h = ops.stack(h, axis=1)  # (B, K, U)
            h = ops.reshape(h, (-1, _SUBSPACES * tasks, width // _SUBSPACES))
            mixed = ops.reshape(ops.matmul(alpha, h), (-1, tasks, width))  # (B, K, U)
            x = dict(zip(self.tasks, ops.unstack(mixed, axis=1), strict=True))
            levels.append(mixed)
        self._note_weights()
        levels = ops.stack(levels, axis=2)  # (B, K, L, U)
        read = ops.matmul(ops.expand_dims(self.beta, 1), levels)  # (B, K, 1, U)
        read = ops.squeeze(read, 2)
        return dict(zip(self.tasks, ops.unstack(read, axis=1), strict=True))

    def _note_weights(self):
        parts = [f"{task}_{i}" for task in self.tasks for i in range(_SUBSPACES)]
        for level, alpha in enumerate(self.alphas, start=1):
            for part, row in zip(parts, ops.unstack(alpha), strict=True):
                note_gate(f"{self.path}/{part}_alpha_{level}", row, parts)
        levels = [f"layer_{level}" for level in range(1, len(self.units) + 1)]
        for task, row in zip(self.tasks, ops.unstack(self.beta), strict=True):
            note_gate(f"{self.path}/{task}_beta", row, levels)

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[-1]))
