"""What the top of logged lists earns, when they are ranked by a fused score."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfmtl import _errors
from tfmtl.metrics.exact.interval import interval
from tfmtl.saved_model.rank import check_weights

_FEWEST = 10  # rows that earn something, below which nothing can be said


@dataclasses.dataclass(frozen=True)
class Gain:
    """What some weights earn of a label, relative to other weights.

    Args:
        value: Earned by the ones over earned by the others; 1 is no change.
        low: Lower end of the 95 % interval; NaN where too few rows earn anything.
        high: Upper end.
        p: The two-sided p-value of no change; None where there is no interval.
        rows: How many rows earn something.
    """

    value: float
    low: float
    high: float
    p: float | None
    rows: int


class Lists:
    """Logged rows in lists, each list ranked by one score of all tasks.

    With r_i(w) the place of row i in its list by the fused score of the weights w
    (product: prod_k p_ik^w_k; sum: sum_k w_k p_ik; see `tfmtl.saved_model.rank.fuse`),
    the lists earn of a label y

        V(w) = sum_i d(r_i(w)) y_i,   d(r) = 1 / log2(1 + r) if r <= top, else 0,

    which is the DCG summed over all lists, or, not discounted, d(r) = 1 at the top: the
    plain sum of the label there. Rows of equal score lie in an order that is random and
    always the same, not in that of the log, which tells how they were ranked.

    Labels are those that the rows earned where they were shown. A row that is moved to
    the top is assumed to earn the same there, so gains are for comparing weights; what
    they are worth online, an A/B test tells.

    Args:
        scores: {task: array (rows,)}, what the model predicts.
        earned: {name: array (rows,)}, labels of tasks or anything else that a row
            earns, such as revenue. NaN, a label that is not known, earns nothing.
        group: Array (rows,) of what a row's list is, such as the request or the user.
        cluster: Array (rows,) of what is independent, such as the user where lists are
            requests; for intervals. Defaults to `group`.
        form: "product" or "sum".
        top: How many places of a list count.
        discounted: Whether a lower place counts less.
        seed: Of the order of rows of equal score.

    Raises:
        ValueError: Scores are not finite, or arrays differ in their rows.

    Example:
    >>> lists = Lists(
    ...     scores={"click": np.array([0.9, 0.1]), "like": np.array([0.1, 0.5])},
    ...     earned={"click": np.array([1.0, 0.0]), "like": np.array([0.0, 1.0])},
    ...     group=np.array(["a user", "a user"]),
    ...     top=1,
    ... )
    >>> lists.earned_by({"click": 1.0})
    {'click': 1.0, 'like': 0.0}
    >>> lists.earned_by({"click": 1.0, "like": 2.0})
    {'click': 0.0, 'like': 1.0}
    """

    def __init__(
        self,
        scores: Mapping[str, np.ndarray],
        earned: Mapping[str, np.ndarray],
        group: np.ndarray,
        *,
        cluster: np.ndarray | None = None,
        form: str = "product",
        top: int = 10,
        discounted: bool = True,
        seed: int = 0,
    ) -> None:
        _errors.check_choice("form", form, ("product", "sum"))
        _errors.check_positive("top", top)
        codes = np.unique(group, return_inverse=True)[1].reshape(-1)
        if not len(codes):
            raise ValueError("Lists need rows. Received none.")
        for what, arrays in (("scores", scores), ("earned", earned)):
            if not arrays:
                raise ValueError(f"{what} must hold an array a name. Received none.")
            for name, array in arrays.items():
                if np.shape(array) != codes.shape:
                    raise ValueError(
                        f"{what} must have one value a row of `group`, "
                        f"{codes.shape}. Received: {name}, {np.shape(array)}."
                    )
        # At random, and then by list: ties stay as they are.
        order = np.random.default_rng(seed).permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        self.form = form
        self.group = codes[order]
        self.cluster = self.group
        if cluster is not None:
            self.cluster = np.unique(np.asarray(cluster)[order], return_inverse=True)[1]
        self.tasks, self.earned = list(scores), {}
        for name, values in earned.items():
            values = np.asarray(values, np.float64)[order]
            self.earned[name] = np.where(np.isnan(values), 0.0, values)
        terms = np.stack([np.asarray(scores[name], np.float64) for name in scores])
        if not np.isfinite(terms).all():
            raise ValueError("Scores must be finite. Received NaN or infinity.")
        if form == "product":  # 0 has no logarithm
            terms = np.log(np.maximum(terms, np.finfo(np.float32).tiny))
        self._terms = terms[:, order]  # (tasks, rows), whose weighted sum ranks
        self._tables = _tables(self.group)
        place = np.arange(1, min(top, len(codes)) + 1)
        self._discount = 1 / np.log2(1 + place) if discounted else np.ones(len(place))

    @property
    def spread(self) -> np.ndarray:
        """By how much each task's term varies within lists, (tasks,).

        That is the standard deviation of log p in a product and of p in a sum. A weight
        times its spread is how much a task has to say in the order.
        """
        sizes = np.bincount(self.group)
        found = []
        for term in self._terms:
            mean = np.bincount(self.group, term) / sizes
            found.append(np.sqrt(np.mean((term - mean[self.group]) ** 2)))
        return np.array(found)

    def discounts(self, weights: Mapping[str, float]) -> np.ndarray:
        """Returns d(r_i(w)) of each row, (rows,), in the order of `earned`."""
        check_weights(weights, self.tasks)
        fused = sum(
            w * self._terms[self.tasks.index(name)] for name, w in weights.items()
        )
        fused = np.append(fused, -np.inf)
        discounts = np.zeros(len(fused))
        for table in self._tables:
            top = np.argsort(-fused[table], axis=1, kind="stable")
            top = np.take_along_axis(table, top[:, : len(self._discount)], 1)
            discounts[top] = self._discount[: top.shape[1]]
        return discounts[:-1]

    def earned_by(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Returns V(w) of everything in `earned`."""
        discounts = self.discounts(weights)
        return {name: float(discounts @ y) for name, y in self.earned.items()}

    def gains(
        self, weights: Mapping[str, float], current: Mapping[str, float]
    ) -> dict[str, Gain]:
        """Returns V(w) / V(current) of everything in `earned`, with intervals.

        Weights must not have been chosen on these rows: gains would look too good. What
        `current` earns nothing of has the value NaN.
        """
        new, old = self.discounts(weights), self.discounts(current)
        found = {}
        for name, y in self.earned.items():
            total = old @ y
            rows = int(np.count_nonzero(y))
            nan = float("nan")
            value = float(new @ y / total) if total else nan
            if rows < _FEWEST or not total:
                found[name] = Gain(value, nan, nan, None, rows)
                continue
            influence = (new - value * old) * y / total
            ends = interval(value, influence, self.cluster, "log", null=1)
            found[name] = Gain(value, ends.low, ends.high, ends.p, rows)
        return found


def _tables(group: np.ndarray) -> list[np.ndarray]:
    """The rows of each list, lists of about a size together: int (lists, width) each.

    Sorting many short lists side by side is several times as fast as all rows at once.

    Args:
        group: Int array (rows,), sorted. A row that is one too large fills tables up.
    """
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    widths = 2 ** np.ceil(np.log2(sizes)).astype(int)
    tables = []
    for width in np.unique(widths):
        lists, step = np.flatnonzero(widths == width)[:, None], np.arange(width)
        tables.append(np.where(step < sizes[lists], starts[lists] + step, len(group)))
    return tables
