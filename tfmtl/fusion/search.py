"""Weights of a fused score that reach a goal and keep what must not be lost."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfmtl import _errors
from tfmtl.fusion.lists import Lists

_ROUND = 10  # points that are tried before the best is looked for again
_SAME = 1e-12  # A spread of scores that are all the same.
_NO_SAY = 0.01  # A share of the say below which a task is left out.


@dataclasses.dataclass(frozen=True)
class Point:
    """Weights that were tried.

    Args:
        weights: {task: w_k}, of three digits; a task that is not in it has 0.
        ratios: {name: V(w) / V(current)}, see `Lists`, of what the current weights
            earn something of.
        goal: sum_m g_m V_m(w) / V_m(current).
        shortfall: By how much the constraint that is missed most is missed, as a share
            of its bound; 0 if all are met.
    """

    weights: dict[str, float]
    ratios: dict[str, float]
    goal: float
    shortfall: float


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search has found.

    Args:
        chosen: The point of the greatest goal that meets all constraints.
        points: All that were tried; the first one is the current weights.
        front: Those of `points` of which no other is better in all that the goal and
            the constraints name.
    """

    chosen: Point
    points: list[Point]
    front: list[Point]


class InfeasibleError(ValueError):
    """No weights that were tried meet the constraints; `nearest` come nearest."""

    def __init__(self, message: str, nearest: Point) -> None:
        super().__init__(message)
        self.nearest = nearest


def search(
    lists: Lists,
    goal: Mapping[str, float],
    *,
    at_least: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
    current: Mapping[str, float] | None = None,
    tries: int = 600,
    seed: int = 0,
) -> Found:
    """Searches for the weights of a fused score.

        maximise    sum_m g_m V_m(w) / V_m(current)
        subject to  V_m(w) / V_m(current) >= at_least_m  and  <= at_most_m

    with V as `Lists` defines it. A common factor of all weights changes no order, so
    that sum_k |w_k| is 1: a product is a geometric mean, which does not underflow in
    float32. Half of the tries lie at random on that simplex, in units of `Lists.spread`
    so that tasks of every scale get their say; the others around the best point so far,
    ever nearer, and around the front. A weight is not below 0, but for a task of which
    less is better, in the goal or by `at_most`, where it is not above 0.

    Args:
        lists: Rows that nothing else is to be measured on: the chosen point's gains are
            those of the luckiest of many. `Lists.gains` of other rows tells them.
        goal: {name: g_m} of names in `lists.earned`; below 0 if less is better.
        at_least: {name: the least share of what the current weights earn}.
        at_most: {name: the greatest share}, of what is bad.
        current: {task: weight} of today. Defaults to 1 for every task.
        tries: How many points to try.
        seed: Of what is random; the same seed finds the same.

    Returns:
        The chosen point, all points and the Pareto front.

    Raises:
        InfeasibleError: No point meets the constraints.
        ValueError: A name is not known, or the current weights earn nothing of it.

    Example:
    >>> random = np.random.default_rng(0)
    >>> p = random.uniform(0.01, 0.5, (2, 4000))
    >>> y = (random.random((2, 4000)) < p).astype(float)
    >>> lists = Lists(
    ...     dict(zip(["click", "like"], p)),
    ...     dict(zip(["click", "like"], y)),
    ...     group=np.arange(4000) // 20,
    ... )
    >>> found = search(lists, {"click": 1}, at_least={"like": 0.95}, tries=100)
    >>> found.chosen.ratios["click"] > 1, found.chosen.ratios["like"] >= 0.95
    (True, True)
    """
    _errors.check_positive("tries", tries)
    at_least, at_most = dict(at_least or {}), dict(at_most or {})
    current = dict(current or dict.fromkeys(lists.tasks, 1.0))
    before = lists.earned_by(current)
    _check(before, goal, at_least, at_most)
    # {name: 1 or -1}: which way is better
    better = dict.fromkeys(at_most, -1) | dict.fromkeys(at_least, 1)
    better |= {name: 1 if weight > 0 else -1 for name, weight in goal.items() if weight}
    spread = dict(zip(lists.tasks, lists.spread, strict=True))
    tasks = [task for task in lists.tasks if spread[task] > _SAME]
    if not tasks:
        raise ValueError("Scores must differ within lists. Received: none that does.")

    def point(weights: dict[str, float]) -> Point:
        earned = lists.earned_by(weights)
        ratios = {name: earned[name] / v for name, v in before.items() if v}
        missed = [1 - ratios[name] / bound for name, bound in at_least.items()]
        missed += [ratios[name] / bound - 1 for name, bound in at_most.items()]
        value = sum(weight * ratios[name] for name, weight in goal.items())
        return Point(weights, ratios, value, max([0.0, *missed]))

    random = np.random.default_rng(seed)
    scale = np.array([better.get(task, 1) / spread[task] for task in tasks])
    # Of each point, how much each task has to say. First, of the current weights.
    says = [np.array([abs(current.get(task, 0.0)) * spread[task] for task in tasks])]
    points = [point(current)]

    def try_(say: np.ndarray) -> None:
        say = np.where(say < _NO_SAY * say.sum(), 0.0, say)
        says.append(say / say.sum())
        points.append(point(_weights(tasks, say * scale)))

    count = len(tasks)
    for say in [np.ones(count), *np.eye(count)]:
        try_(say)
    while len(points) < max(tries // 2, count + 2):
        # Some with all tasks, some with few.
        try_(random.dirichlet(np.full(count, 1.0 if len(points) % 2 else 0.3)))
    step, front, seen = 0.2, [], 0
    while len(points) < tries:
        best = min(range(len(points)), key=lambda i: _order(points[i]))
        front, seen = _front(points, [*front, *range(seen, len(points))], better)
        for i in range(min(_ROUND, tries - len(points))):
            near = says[best if i % 3 else random.choice(front)]
            near = near / (near.sum() or 1.0)
            moved = random.random(count) < 0.7
            try_(np.abs(near + moved * random.normal(0, step, count)))
        if min(_order(p) for p in points[-_ROUND:]) >= _order(points[best]):
            step = max(step * 0.8, 0.01)
    chosen = min(points, key=_order)
    if chosen.shortfall:
        raise InfeasibleError(
            _infeasible(chosen, len(points), at_least, at_most), chosen
        )
    front, _ = _front(points, [*front, *range(seen, len(points))], better)
    return Found(chosen, points, [points[i] for i in front])


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Returns which points are not dominated.

    Args:
        values: Array (points, criteria); more is better.

    Returns:
        Int array of the points than which no other is at least as good in all criteria
        and better in one, by the first criterion; of equal points, the first.

    Example:
    >>> pareto_front(np.array([[1, 3], [2, 2], [1, 2], [3, 1]])).tolist()
    [0, 1, 3]
    """
    distinct, first = np.unique(values, axis=0, return_index=True)
    front = [
        i
        for i, value in enumerate(distinct)
        if not ((distinct >= value).all(1) & (distinct > value).any(1)).any()
    ]
    return first[front]


def _check(
    before: Mapping[str, float],
    goal: Mapping[str, float],
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
) -> None:
    if not any(goal.values()):
        raise ValueError("A goal needs a weight that is not 0. Received none.")
    for name in [*goal, *at_least, *at_most]:
        _errors.check_choice("What the goal or a constraint names", name, before)
        if not before[name] > 0:
            raise ValueError(
                "The current weights must earn something of what the goal or a "
                f"constraint names. Received: {before[name]:g} of {name!r}."
            )
    for name, bound in [*at_least.items(), *at_most.items()]:
        if not (_errors.is_number(bound) and bound > 0):
            raise ValueError(f"A bound must be above 0. Received: {name}, {bound!r}.")


def _order(point: Point) -> tuple[float, float]:
    """The better point is less."""
    return point.shortfall, -point.goal


def _front(
    points: Sequence[Point], among: Sequence[int], better: Mapping[str, int]
) -> tuple[list[int], int]:
    """Returns which points, by their numbers, are the front; and how many there are."""
    values = [
        [way * points[i].ratios[name] for name, way in better.items()] for i in among
    ]
    return [among[i] for i in pareto_front(np.array(values))], len(points)


def _weights(tasks: Sequence[str], weights: np.ndarray) -> dict[str, float]:
    """Weights whose sizes add up to 1, as they are written: of three digits."""
    weights = weights / np.abs(weights).sum()
    return {t: float(f"{w:.3g}") for t, w in zip(tasks, weights, strict=True) if w}


def _infeasible(
    nearest: Point,
    tried: int,
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
) -> str:
    wanted = [f"{name} >= {bound:g}" for name, bound in at_least.items()]
    wanted += [f"{name} <= {bound:g}" for name, bound in at_most.items()]
    reached = ", ".join(
        f"{name} {nearest.ratios[name]:.3f}" for name in [*at_least, *at_most]
    )
    return (
        f"The constraints must be met by some weights. Of {tried} that were tried none "
        f"meets {', '.join(wanted)} (shares of what the current weights earn). The "
        f"nearest, {nearest.weights}, reach {reached}. Ask for less, or try more."
    )
