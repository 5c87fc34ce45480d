"""AdaSparse: a network whose units are pruned and scaled by the domain."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units

FORMS = ("fusion", "scaling", "binary")


@keras.saving.register_keras_serializable("tfmtl")
class AdaSparse(Layer):
    """One network, of which every domain uses the units that it needs.

        v^l = P^l [c, h^l],  h^0 the input, c the condition
        binary   pi^l = 1 if sigmoid(alpha v^l) > epsilon else 0
        scaling  pi^l = s if s > epsilon else 0,  s = beta sigmoid(v^l)
        fusion   pi^l = s if s > epsilon else 0,  s = beta sigmoid(alpha v^l)
        h^{l+1} = activation((pi^l * h^l) W^l + b^l)

    The last hidden layer is weighed too. With beta = 2, weights of scaling and fusion
    start near 1.

    Reconstruction: the paper's text was not at hand, its abstract and public code were.
    `binary` has the gradient of the sigmoid, since its own is 0. (The code prunes by
    the sign of s - epsilon, so that a unit below is turned around instead of off.)
    Deviations: alpha stays as it is, there it grows during training; no penalty holds
    the share of pruned units in a range; no batch normalisation.

    Args:
        tasks: List of strings. Names of the tasks, which share the network.
        units: Tuple of integers. Layer widths. Defaults to (256, 128).
        form: String. "fusion", "scaling" or "binary". Defaults to "fusion".
        alpha: Float. Steepness: the larger, the nearer to 0 and the largest weight.
            Defaults to 1.
        beta: Float. The largest weight of scaling and fusion. Defaults to 2.
        epsilon: Float. Weights below it are 0. Defaults to 0.01.
        activation: String or callable. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        condition: Tensor of shape (batch, any), the embedding of the domain. Defaults
            to none: a layer's own input alone tells which of its units are used.

    Output: dict {task: (batch, units[-1])}, the same tensor for each task.

    Example:
    >>> ops = keras.ops
    >>> out = AdaSparse(["click"], (8,))(ops.ones((4, 5)), ops.ones((4, 3)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8)}

    References:
        - [AdaSparse](https://arxiv.org/abs/2206.13108)
    """

    def __init__(
        self,
        tasks,
        units=(256, 128),
        form="fusion",
        alpha=1.0,
        beta=2.0,
        epsilon=0.01,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.units = _errors.check_units("units", units)
        _errors.check_choice("form", form, FORMS)
        for what, number in (("alpha", alpha), ("beta", beta), ("epsilon", epsilon)):
            _errors.check_number(what, number)
        self.form = form
        self.alpha = alpha
        self.beta = beta
        self.epsilon = epsilon
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, condition_shape=None):
        """Creates the layers and, for the input and each of them, P."""
        _errors.check_rank(self, inputs_shape, 2)
        more = condition_shape[-1] if condition_shape else 0

        def dense(units, width, name, **options):
            layer = keras.layers.Dense(
                units, dtype=self.dtype_policy, name=name, **options
            )
            layer.build((None, width))
            return layer

        widths = [inputs_shape[-1], *self.units]
        self.pruners = [
            dense(width, more + width, f"pruner_{i}", use_bias=False)
            for i, width in enumerate(widths)
        ]
        self.layers = [
            dense(units, widths[i], f"dense_{i}", activation=self.activation)
            for i, units in enumerate(self.units)
        ]

    def call(self, inputs, condition=None):
        """Maps (batch, width) and (batch, any) to {task: (batch, units[-1])}."""
        x, means = inputs, []
        for i, pruner in enumerate(self.pruners):
            if i > 0:
                x = self.layers[i - 1](x)
                hidden_units.note(self.layers[i - 1].path, (x, 0))
            read = x if condition is None else ops.concatenate([condition, x], -1)
            weights = self._weights(pruner(read))  # (B, U)
            means.append(ops.mean(weights, axis=-1))
            x = weights * x
        labels = ["input", *(f"layer_{i}" for i in range(len(self.layers)))]
        note_gate(self.path, ops.stack(means, axis=-1), labels)
        return dict.fromkeys(self.tasks, x)

    def _weights(self, v):
        """Maps what a pruner gives to weights, 0 for what is pruned."""
        alpha = 1.0 if self.form == "scaling" else self.alpha
        weights = ops.sigmoid(alpha * v)
        if self.form != "binary":
            weights = self.beta * weights
        kept = ops.cast(weights > self.epsilon, weights.dtype)
        if self.form == "binary":
            return weights + ops.stop_gradient(kept - weights)
        return kept * weights

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        """Returns {task: (batch, units[-1])}."""
        width = self.units[-1] if self.units else inputs_shape[-1]
        return dict.fromkeys(self.tasks, (inputs_shape[0], width))
