"""Gates that scale experts side by side, where a softmax gate would sum them up.

The scaled experts stay next to each other, so that a task's tower has weights of its
own for each of them, and experts may differ in width.
"""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import gated_experts
from tfmtl.layers.blocks.virtual_gradient import (
    COEFFICIENTS,
    current_correlation,
    gradient_factor,
    scale_gradient,
)


@keras.saving.register_keras_serializable("tfmtl")
class GlobalGates(Layer):
    """One trainable number a task and expert, the same for all rows (DEPHN, eq. 4).

        g^t(x) = [G_1^t e_1(x), ..., G_n^t e_n(x)]

    The paper's "trainable fixed parameters", which beat gates that depend on the input.
    During a step inside `batch_correlation` their gradient is scaled by how the tasks'
    labels correlate: the virtual gradient, eq. 7 to 9. `DEPHN` trains so in `fit`; see
    `tfmtl.layers.blocks.virtual_gradient` for a training loop of your own.

    Deviations from the paper: it gives neither range nor start of the gates. As min(1,
    |difference|) in its eq. 9 makes no sense for weights within [0, 1], they are free
    numbers here, and start at 1 + N(0, 0.05): nearly ungated, ties broken.

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer. n, the number of experts.
        coefficient: String, one of `blocks.virtual_gradient.COEFFICIENTS`, or None for
            the plain gradient. Defaults to "add_sqrt".
        labels: List of strings. Names of the experts in a gate report. Defaults to
            "0", "1", ...

    Input: list of n tensors (batch, units_i).

    Output: dict {task: (batch, sum of units_i)}.

    Example:
    >>> experts = [keras.ops.ones((4, 8)), keras.ops.ones((4, 6))]
    >>> out = GlobalGates(["click", "like"], 2)(experts)
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 14), 'like': (4, 14)}

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519), eq. 4 and 7 to 9.
    """

    def __init__(self, tasks, experts, coefficient="add_sqrt", labels=None, **kwargs):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        if coefficient is not None:
            _errors.check_choice("coefficient", coefficient, COEFFICIENTS)
        self.experts, self.labels = _experts_and_labels(experts, labels)
        self.coefficient = coefficient

    def build(self, input_shape):
        """Creates G, (tasks, experts)."""
        _check_number(input_shape, self.experts)
        self.gates = self.add_weight(
            name="gates",
            shape=(len(self.tasks), self.experts),
            initializer=keras.initializers.RandomNormal(1.0, 0.05),
            # Differences between gates are too small for half precision.
            autocast=False,
        )

    def call(self, inputs):
        """Maps n tensors (batch, units_i) to {task: (batch, sum of units_i)}."""
        gates = ops.convert_to_tensor(self.gates)  # (T, n)
        correlation = current_correlation()
        if correlation is not None and self.coefficient is not None:
            if tuple(correlation.shape) != (len(self.tasks),) * 2:
                raise ValueError(
                    f"The correlation of {len(self.tasks)} tasks must be a square of "
                    f"as many rows. Received: shape {tuple(correlation.shape)}."
                )
            factor = gradient_factor(gates, correlation, self.coefficient)
            gates = scale_gradient(gates, factor)
        gates = ops.cast(gates, self.compute_dtype)
        outputs = {}
        for t, task in enumerate(self.tasks):
            note_gate(f"{self.path}/{task}", gates[t], self.labels)
            gated_experts.note(f"{self.path}/{task}", list(inputs))
            outputs[task] = _scaled(inputs, gates[t])
        return outputs

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, sum of units_i)}."""
        return _side_by_side(self.tasks, input_shape)


@keras.saving.register_keras_serializable("tfmtl")
class InputGates(Layer):
    """Gates that depend on the row, as MMoE's do: softmax(W^t x), one W a task.

        g^t(x) = [w_1^t(x) e_1(x), ..., w_n^t(x) e_n(x)],  w^t(x) = softmax(W^t x)

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer. n, the number of experts.
        labels: List of strings. Names of the experts in a gate report. Defaults to
            "0", "1", ...

    Call arguments:
        selector: Tensor of shape (batch, width), what the weights depend on.
        experts: List of n tensors (batch, units_i).

    Output: dict {task: (batch, sum of units_i)}.

    Example:
    >>> ops = keras.ops
    >>> gates = InputGates(["click", "like"], 2)
    >>> out = gates(ops.ones((4, 5)), [ops.ones((4, 8)), ops.ones((4, 6))])
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 14), 'like': (4, 14)}

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    def __init__(self, tasks, experts, labels=None, **kwargs):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.experts, self.labels = _experts_and_labels(experts, labels)

    def build(self, selector_shape, experts_shape=None):
        """Creates W of each task, (width, experts)."""
        if experts_shape is not None:
            _check_number(experts_shape, self.experts)
        self.kernels = {
            task: self.add_weight(
                name=f"{task}_kernel",
                shape=(selector_shape[-1], self.experts),
                initializer="glorot_uniform",
            )
            for task in self.tasks
        }

    def call(self, selector, experts):
        """Maps (batch, width) and n tensors to {task: (batch, sum of units_i)}."""
        outputs = {}
        for task in self.tasks:
            weights = ops.softmax(ops.matmul(selector, self.kernels[task]))  # (B, n)
            note_gate(f"{self.path}/{task}", weights, self.labels)
            gated_experts.note(f"{self.path}/{task}", list(experts))
            outputs[task] = _scaled(experts, weights)
        return outputs

    def compute_output_shape(self, selector_shape, experts_shape):
        """Returns {task: (batch, sum of units_i)}."""
        return _side_by_side(self.tasks, experts_shape)


def _experts_and_labels(experts, labels):
    _errors.check_positive("experts", experts)
    labels = list(labels) if labels else [str(i) for i in range(experts)]
    if len(labels) != experts:
        raise ValueError(
            f"Gates over {experts} experts need as many labels. Received: {labels}."
        )
    return experts, labels


def _check_number(shapes, experts):
    if len(shapes) != experts:
        raise ValueError(
            f"Gates over {experts} experts must be called with a list of as many "
            f"tensors. Received: {len(shapes)}."
        )


def _scaled(experts, weights):
    """Joins the experts (B, U_i), each times its weight, out of (n,) or (B, n)."""
    return ops.concatenate(
        [weights[..., i : i + 1] * x for i, x in enumerate(experts)], axis=-1
    )


def _side_by_side(tasks, shapes):
    return dict.fromkeys(tasks, (shapes[0][0], sum(shape[-1] for shape in shapes)))
