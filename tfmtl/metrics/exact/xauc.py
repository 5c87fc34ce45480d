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
    in_order, different = shares_in_order(label, prediction, weight)
    pairs = (weight * different).sum()
    return float((weight * in_order).sum() / pairs) if pairs else float("nan")


def shares_in_order(
    label: np.ndarray,
    prediction: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Weighs, for each row, the rows in order with it, and those of another label.

    Args:
        label: Array (rows,).
        prediction: Array (rows,).
        weight: Float array (rows,).
        group: Integer array (rows,), codes from 0; only rows of one group are compared.
            Defaults to one group.

    Returns:
        Two arrays (rows,); in the first, rows of an equal prediction count as half.
    """
    code = np.unique(label, return_inverse=True)[1].reshape(-1)
    bits = int(code.max(initial=0)).bit_length()
    if group is None:
        group = np.zeros(len(code), np.int64)
    code = np.asarray(group, np.int64) << bits | code
    same = np.unique(code, return_inverse=True)[1].reshape(-1)
    different = np.bincount(group, weight)[group] - np.bincount(same, weight)[same]
    in_order = np.zeros(len(code))
    row = np.lexsort((prediction, group))
    # Two different labels part at one bit, the highest in which their codes differ.
    # Before the step of that bit they lie in one block, sorted by prediction: what of
    # a row with a 1 lies behind a row with a 0 is a pair in order.
    for bit in reversed(range(bits)):
        block, one = code[row] >> (bit + 1), (code[row] >> bit & 1).astype(bool)
        new_block = np.append(True, block[1:] != block[:-1])
        ordered = np.asarray(prediction)[row]
        new_run = new_block | np.append(True, ordered[1:] != ordered[:-1])
        starts = np.append(np.flatnonzero(new_run), len(row))
        first = np.flatnonzero(new_block)
        of_run, of_block = np.cumsum(new_run) - 1, np.cumsum(new_block) - 1

        def below(of_rows, starts=starts, first=first, of_run=of_run, of=of_block):
            """The weight in a row's block before it, half of equal ones; and all."""
            before = np.append(0, np.cumsum(of_rows))
            middle = (before[starts[:-1]] + before[starts[1:]]) / 2
            total = before[np.append(first[1:], len(of_run))] - before[first]
            return middle[of_run] - before[first][of], total[of]

        zeros, _ = below(np.where(one, 0, weight[row]))
        ones, all_ones = below(np.where(one, weight[row], 0))
        in_order[row] += np.where(one, zeros, all_ones - ones)
        # Parts each block by the bit; within a part, predictions stay sorted.
        row = row[np.argsort(block * 2 + one, kind="stable")]
    return in_order, different
