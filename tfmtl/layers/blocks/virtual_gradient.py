"""The virtual gradient: how fast a task's gates learn, given the other tasks' labels.

A training step needs the labels before the forward pass. So the model computes their
correlation first and runs the step inside `batch_correlation`; layers of gates look it
up with `current_correlation` and scale their own gradient. The forward pass, and any
pass outside of the `with` block, is what it would be without.
"""

import contextlib
import math
import threading

from keras import ops

from tfmtl import _errors

_batch = threading.local()  # replicas of a distributed step are threads

# gamma(x, y): x relevance of the labels, y difference of the gates, both in [0, 1].
# The paper prints (.)^.5 without |.|; its heat maps, symmetric about 0, need it.
COEFFICIENTS = {
    "mul_cos": lambda x, y: ops.cos(2 * math.pi * x * y) + 1,
    "mul_abs": lambda x, y: 2 * ops.abs(2 * x * y - 1),
    "mul_square": lambda x, y: 2 * ops.square(2 * x * y - 1),
    "mul_sqrt": lambda x, y: 2 * ops.sqrt(ops.abs(2 * x * y - 1)),
    "add_cos": lambda x, y: ops.cos(math.pi * (x + y)) + 1,
    "add_abs": lambda x, y: 2 * ops.abs(x + y - 1),
    "add_square": lambda x, y: 2 * ops.square(x + y - 1),
    "add_sqrt": lambda x, y: 2 * ops.sqrt(ops.abs(x + y - 1)),
}
CORRELATIONS = ("pearson", "cosine")


@contextlib.contextmanager
def batch_correlation(correlation):
    """Gives gates that are called inside the `with` block their labels' correlation.

    Args:
        correlation: Tensor of shape (tasks, tasks), see `label_correlation`.
    """
    before = current_correlation()
    _batch.correlation = correlation
    try:
        yield
    finally:
        _batch.correlation = before


def current_correlation():
    """Returns what `batch_correlation` gives here, or None outside of it."""
    return getattr(_batch, "correlation", None)


def label_correlation(labels, masks, kind="pearson"):
    """Returns |correlation| of every two tasks' labels, over the rows of both.

    A pair of tasks is compared on the rows that lie in both sample spaces. Where that
    leaves no row, or a label that is constant there, the correlation is 0.

    Args:
        labels: Tensor of shape (tasks, batch), without NaN.
        masks: Tensor of shape (tasks, batch); 1 for rows in the task's sample space
            that have a label, else 0.
        kind: "pearson" or "cosine". Defaults to "pearson".

    Returns:
        Float32 tensor of shape (tasks, tasks), in [0, 1].

    Raises:
        ValueError: If `kind` is unknown.

    Example:
    >>> labels = ops.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    >>> round(float(label_correlation(labels, ops.ones((2, 3)))[0, 1]), 3)
    0.5
    """
    _errors.check_choice("correlation", kind, CORRELATIONS)
    masks = ops.cast(masks, "float32")  # (T, B)
    y = ops.cast(labels, "float32") * masks
    if kind == "pearson":
        # Large labels, such as seconds, would leave no digits in the differences below.
        means = ops.sum(y, 1, keepdims=True) / ops.maximum(
            ops.sum(masks, 1, keepdims=True), 1.0
        )
        y = (y - means) * masks
    others = ops.transpose(masks)  # (B, T)
    rows = ops.maximum(ops.matmul(masks, others), 1.0)  # (T, T): rows of both t and j
    squares = ops.matmul(ops.square(y), others)  # of t's labels, over these rows
    product = ops.matmul(y, ops.transpose(y))
    spread = squares
    if kind == "pearson":
        sums = ops.matmul(y, others)
        product = product - sums * ops.transpose(sums) / rows
        spread = squares - ops.square(sums) / rows
    # Rounding leaves a constant label a spread that is not quite 0.
    spread = ops.where(spread > 1e-5 * squares, spread, ops.zeros_like(spread))
    scale = ops.sqrt(spread) * ops.sqrt(ops.transpose(spread))
    known = scale > 0
    ratio = ops.abs(product) / ops.where(known, scale, ops.ones_like(scale))
    return ops.where(known, ops.minimum(ratio, 1.0), ops.zeros_like(ratio))


def gradient_factor(gates, correlation, coefficient="add_sqrt"):
    """Returns prod over j != t of gamma_jt, DEPHN's eq. 8 and 9.

        gamma_jt = gamma(correlation_jt, min(1, |G^t - G^j|))

    It grows towards 2 where related labels have different gates, or unrelated ones
    equal gates, and shrinks towards 0 where gates are as different as the labels are
    unrelated. With T tasks the product lies in [0, 2^(T-1)].

    Args:
        gates: Tensor of shape (tasks, gates).
        correlation: Tensor of shape (tasks, tasks), in [0, 1].
        coefficient: String. One of `COEFFICIENTS`. Defaults to "add_sqrt", 2 sqrt(|x +
            y - 1|), the paper's choice.

    Returns:
        Tensor of the shape of `gates`.

    Raises:
        ValueError: If the coefficient is unknown.

    Example:
    >>> gates = ops.array([[1.0], [1.0]])
    >>> gradient_factor(gates, ops.array([[1.0, 0.75], [0.75, 1.0]])).numpy().tolist()
    [[1.0], [1.0]]
    """
    _errors.check_choice("coefficient", coefficient, COEFFICIENTS)
    difference = ops.minimum(1.0, ops.abs(gates[:, None] - gates[None]))  # (T, T, n)
    gamma = COEFFICIENTS[coefficient](correlation[:, :, None], difference)
    itself = ops.eye(gates.shape[0], dtype="bool")[:, :, None]
    return ops.prod(ops.where(itself, ops.ones_like(gamma), gamma), axis=1)


def scale_gradient(x, factor):
    """Returns x, whose gradient is multiplied by `factor`.

    Deviations from the paper: it describes a product divided by a frozen copy of the
    factor. Taken literally that passes on a gradient other than eq. 8's, and NaN where
    the factor is 0. This one is eq. 8: x passes frozen, plus a zero with the gradient.

    Args:
        x: Tensor.
        factor: Tensor of the same shape; no gradient flows into it.

    Returns:
        A tensor equal to `x`.
    """
    frozen = ops.stop_gradient(x)
    return frozen + ops.stop_gradient(factor) * (x - frozen)
