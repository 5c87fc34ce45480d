"""XAUC: the AUC of values, as of watch times."""

import numpy as np


def xauc(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The share of pairs of rows that predictions put in the order of their labels.

        XAUC = P((p_i - p_j)(y_i - y_j) > 0 | y_i != y_j) + P(p_i = p_j | ...) / 2

    Over all pairs of different labels, and not over sampled ones as in the paper;
    pairs of equal predictions count as half, so that with labels 0 and 1 it is the AUC.
    O(n log n) time. NaN where all labels are equal.

    Args:
        label: Array (rows,), such as seconds watched.
        prediction: Array (rows,).
        weight: Array (rows,) >= 0; a pair weighs the product. Defaults to 1.

    Example:
    >>> xauc(np.array([1.0, 5.0, 9.0]), np.array([2.0, 1.0, 3.0]))  # 2 of 3 pairs
    0.6666666666666666

    References:
        - [D2Q](https://arxiv.org/abs/2206.06003), section 4.2.
    """
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, float)
    kept = weight > 0
    label, prediction, weight = (
        np.asarray(x)[kept] for x in (label, prediction, weight)
    )
    if not len(label):
        return float("nan")
    code = np.unique(label, return_inverse=True)[1].reshape(-1)
    pairs = weight.sum() ** 2 - (np.bincount(code, weight) ** 2).sum()
    if code.max() == 0:
        return float("nan")
    order = np.argsort(prediction)
    code, prediction, weight = code[order], prediction[order], weight[order]
    won = 0.0
    # Two different labels part at one bit, the highest in which their codes differ.
    # Before the step of that bit they lie in one block, sorted by prediction: what of
    # a row with a 1 lies behind a row with a 0 is a pair in order.
    for bit in reversed(range(int(code.max()).bit_length())):
        block, one = code >> (bit + 1), (code >> bit & 1).astype(bool)
        new_block = np.append(True, block[1:] != block[:-1])
        new_run = new_block | np.append(True, prediction[1:] != prediction[:-1])
        zeros = np.append(0, np.cumsum(np.where(one, 0, weight)))  # before each row
        starts = np.append(np.flatnonzero(new_run), len(code))
        below = (zeros[starts[:-1]] + zeros[starts[1:]]) / 2  # half of equal ones
        below = below[np.cumsum(new_run) - 1]
        below -= zeros[np.flatnonzero(new_block)][np.cumsum(new_block) - 1]
        won += (weight * below)[one].sum()
        # Parts each block by the bit; within a part, predictions stay sorted.
        order = np.argsort(block * 2 + one, kind="stable")
        code, prediction, weight = code[order], prediction[order], weight[order]
    return float(2 * won / pairs)
