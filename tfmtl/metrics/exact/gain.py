"""What learning together has brought a task."""

from collections.abc import Mapping

_HIGHER = (
    "auc",
    "gauc",
    "uauc",
    "pr_auc",
    "xauc",
    "gxauc",
    "spearman",
    "ndcg",
    "mrr",
    "hit_rate",
    "accuracy",
)
_LOWER = (
    "loss",
    "logloss",
    "log_loss",
    "cross_entropy",
    "ne",
    "normalized_entropy",
    "mae",
    "rmse",
    "deviance",
)


def mtl_gain(
    together: Mapping[str, float], alone: Mapping[str, float]
) -> dict[str, float]:
    """The MTL gain of each metric that both runs have, PLE's eq. 11.

        gain = M_MTL - M_single of a metric of which more is better, such as the AUC
        gain = M_single - M_MTL of one of which less is better, such as the MAE
        gain = |M_single - 1| - |M_MTL - 1| of calibration, which is best at 1

    So a gain above 0 is good, whatever the metric. The runs must have the same samples,
    and networks of the same structure.

    Args:
        together: {name: value}, such as the logs of an epoch of the multi-task model.
            A name ends with that of a metric: "val_click_auc", "click_auc/tab=1".
        alone: The same of a run of a task, or of all, by itself.

    Raises:
        ValueError: If no name is in both, or one ends with no known metric.

    Example:
    >>> alone = {"val_click_auc": 0.70, "val_click_loss": 0.30}
    >>> together = {"val_click_auc": 0.72, "val_click_loss": 0.31, "val_like_auc": 0.8}
    >>> {name: round(gain, 4) for name, gain in mtl_gain(together, alone).items()}
    {'val_click_auc': 0.02, 'val_click_loss': -0.01}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          eq. 11.
    """
    shared = [name for name in together if name in alone]
    if not shared:
        raise ValueError(
            "The two runs must have metrics of the same names. Received: "
            f"{sorted(together)} and {sorted(alone)}."
        )
    return {
        name: _goodness(name, together[name]) - _goodness(name, alone[name])
        for name in shared
    }


def direction(name: str, value: float) -> float:
    """How a small rise of a metric counts: 1 where more is better, -1 where less is.

    Args:
        name: The metric's, see `mtl_gain`.
        value: Where it stands: calibration shall rise below 1 and fall above it.

    Raises:
        ValueError: If the name ends with no known metric.

    Example:
    >>> direction("auc", 0.7), direction("mae", 2.0), direction("calibration", 0.8)
    (1.0, -1.0, 1.0)
    """
    metric = _metric(name)
    if _ends_with(metric, ("calibration",)):
        return -1.0 if value > 1 else 1.0
    if _ends_with(metric, _HIGHER):
        return 1.0
    if _ends_with(metric, _LOWER):
        return -1.0
    raise ValueError(
        f"A name must end with that of a metric: {', '.join(_HIGHER + _LOWER)} or "
        f"calibration. Received: {name!r}."
    )


def _goodness(name: str, value: float) -> float:
    """The value, turned so that more is better."""
    best = 1.0 if _ends_with(_metric(name), ("calibration",)) else 0.0
    return direction(name, value) * (value - best)


def _metric(name: str) -> str:
    """Leaves out places and domain: "click_ndcg@10/tab=1" is "click_ndcg"."""
    return name.split("/")[0].split("@")[0]


def _ends_with(name: str, metrics: tuple[str, ...]) -> bool:
    return any(name == m or name.endswith(f"_{m}") for m in metrics)
