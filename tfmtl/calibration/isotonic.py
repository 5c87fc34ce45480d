"""Any rising map of predictions, found by pool adjacent violators."""

import keras
import numpy as np
from keras import ops

from tfmtl.calibration.layers import Calibration
from tfmtl.calibration.rows import even_groups, means_of, pool_neighbours, ratio_of

_KNOTS = 100
_OWN = 0.01  # share of the prediction itself
_STEP = 0.003  # of a score; what rises, rises over no less


@keras.saving.register_keras_serializable("tfmtl")
class Isotonic(Calibration):
    """The rising function that fits best: straight lines between at most 100 knots.

        p' = (1 - e) f(p) + e p min(s, 1),   e = 0.01, s as in `Scale`

    Pool adjacent violators finds blocks of scores and their mean labels; f goes in
    straight lines through the blocks' means, as in centered isotonic regression, and is
    constant beyond the first and the last; the whole is scaled to the labels' total.
    The share of p itself keeps scores apart that differ, as far as float32 can, and a
    probability from being 0 for sure. Rows come to it in up to 1000 groups, of 30 where
    there are enough.

    Unlike one factor or one line, it needs some thousand rows: it follows noise.

    Args:
        highest: Float. The largest possible prediction, such as 1 of a probability.
            Defaults to none.
        domains: Integer, see `Calibration`.

    References:
        - [Centered isotonic regression](https://arxiv.org/abs/1701.05964)
        - [Zadrozny and Elkan, 2002](https://doi.org/10.1145/775047.775151)
    """

    identity = {
        "own": 1.0,
        "offset": 0.0,
        "starts": np.zeros(_KNOTS - 1),
        "widths": np.ones(_KNOTS - 1),
        "rises": np.zeros(_KNOTS - 1),
    }
    least = 100

    def __init__(self, highest=None, domains=None, **kwargs):
        super().__init__(domains, **kwargs)
        self.highest = highest

    def best(self, score, label, weight):
        """Returns the knots, see `Calibration`."""
        ratio = ratio_of(weight @ label, weight @ score)
        own = _OWN * (ratio if 0 < ratio < 1 else 1)
        most = min(max(len(score) // 30, _KNOTS), 1000)
        rows = pool_neighbours(score, label, weight, most)
        x, y, size = means_of(pool_adjacent_violators(*rows[1:]), *rows)
        if len(x) > _KNOTS:  # a knot for so many rows, or for such a rise
            size = size / size.sum() + np.gradient(y) / (y[-1] - y[0])
            x, y, _ = means_of(even_groups(size, _KNOTS), x, y, size)
        lines = weight @ np.interp(score, x, y)
        share = ratio_of(weight @ label - own * (weight @ score), lines)
        # Lines do not keep the total; of labels around 0 it says nothing.
        y = y * (share if 0.5 < share < 2 else 1 - _OWN)
        free = (0, _KNOTS - len(x))
        # Nothing is so steep that the last bits of a score decide.
        widths = np.maximum(np.diff(x), _STEP * np.abs(x[:-1]) + 1e-30)
        return {
            "own": own,
            "offset": y[0],
            "starts": np.pad(x[:-1], free),
            "widths": np.pad(widths, free, constant_values=1),
            "rises": np.pad(np.diff(y), free),
        }

    def map(self, p, own, offset, starts, widths, rises):
        """See `Calibration`."""
        passed = ops.clip((p - starts) / widths, 0, 1)  # (B, pieces)
        p = own * p + offset + ops.sum(rises * passed, axis=-1, keepdims=True)
        return p if self.highest is None else ops.clip(p, 0, self.highest)

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "highest": self.highest}


def pool_adjacent_violators(label, weight):
    """Returns the number of each row's block of the function that rises and fits best.

    Args:
        label: Array of shape (rows,), in the order of the scores.
        weight: Array of shape (rows,), above 0.

    Example:
    >>> pool_adjacent_violators(np.array([1, 3, 2, 6]), np.ones(4)).tolist()
    [0, 1, 1, 2]
    """
    means, weights, sizes = [], [], []
    for mean, total in zip(label.tolist(), weight.tolist(), strict=True):
        size = 1
        while means and means[-1] >= mean:
            before, size = weights.pop(), size + sizes.pop()
            mean = (means.pop() * before + mean * total) / (before + total)
            total += before
        means.append(mean)
        weights.append(total)
        sizes.append(size)
    return np.repeat(np.arange(len(sizes)), sizes)
