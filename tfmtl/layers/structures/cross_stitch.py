"""Cross-stitch units: the tasks' networks exchange activations after each layer."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


@keras.saving.register_keras_serializable("tfmtl")
class CrossStitch(Layer):
    """One network a task; after each layer they are mixed linearly.

        h_k^l = activation(x_k^{l-1} W_k^l + b_k^l),  x_k^0 = x
        x_k^l = sum_j alpha_kj^l h_j^l

    alpha^l, (tasks, tasks), is learnt and the same for all rows. It starts with
    `own_weight` for the task's own activations and the rest spread evenly over the
    other tasks.

    Deviations from the paper: its units stand between the blocks of two image
    networks; here they stand after every dense layer, for any number of tasks, as in
    the comparisons of the MMoE and PLE papers.

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        own_weight: Float. alpha_kk at the start. Defaults to 0.9.
        activation: String or callable. Defaults to "relu".

    Input shape: (batch, width). Output: dict {task: (batch, units[-1])}.

    Example:
    >>> layer = CrossStitch(["click", "like"], units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}
    >>> print(layer.alphas[0].numpy())
    [[0.9 0.1]
     [0.1 0.9]]

    References:
        - [Cross-stitch Networks](https://arxiv.org/abs/1604.03539)
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007),
          section 6.1.
    """

    def __init__(
        self, tasks, units=(256, 128), own_weight=0.9, activation="relu", **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.units = check_hidden(units)
        _errors.check_ratio("own_weight", own_weight)
        self.own_weight = own_weight
        self.activation = keras.activations.get(activation)
        self.dense = {
            f"{task}_{level}": keras.layers.Dense(
                width,
                activation=self.activation,
                dtype=self.dtype_policy,
                name=f"{task}_{level}",
            )
            for level, width in enumerate(self.units, start=1)
            for task in self.tasks
        }

    def build(self, input_shape):
        """Creates alpha of each layer, (tasks, tasks), and builds the networks."""
        _errors.check_rank(self, input_shape, 2)
        self.alphas = []
        for level, width in enumerate(self.units, start=1):
            for task in self.tasks:
                self.dense[f"{task}_{level}"].build(input_shape)
            input_shape = (*input_shape[:-1], width)
            self.alphas.append(
                self.add_weight(
                    name=f"alpha_{level}",
                    shape=(len(self.tasks), len(self.tasks)),
                    initializer=lambda shape, dtype: stitch_matrix(
                        shape[0], self.own_weight, dtype
                    ),
                )
            )

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, units[-1])}."""
        x = dict.fromkeys(self.tasks, inputs)
        for level, alpha in enumerate(self.alphas, start=1):
            h = [self.dense[f"{task}_{level}"](x[task]) for task in self.tasks]
            for task, units in zip(self.tasks, h, strict=True):
                hidden_units.note(self.dense[f"{task}_{level}"].path, (units, 0))
            mixed = ops.matmul(alpha, ops.stack(h, axis=1))  # (B, K, U)
            x = dict(zip(self.tasks, ops.unstack(mixed, axis=1), strict=True))
            for task, row in zip(self.tasks, ops.unstack(alpha), strict=True):
                note_gate(f"{self.path}/{task}_alpha_{level}", row, self.tasks)
        return x

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[-1]))


def check_hidden(units) -> tuple[int, ...]:
    """Returns layer widths as a tuple; raises unless there is at least one."""
    units = _errors.check_units("units", units)
    if not units:
        raise ValueError("There is nothing to mix without a layer. Received: units=().")
    return units


def stitch_matrix(size: int, own_weight: float, dtype=None):
    """Returns (size, size): `own_weight` on the diagonal, rows that sum to 1."""
    if size == 1:
        return ops.ones((1, 1), dtype)
    eye = ops.eye(size, dtype=dtype)
    return own_weight * eye + (1 - own_weight) / (size - 1) * (1 - eye)
