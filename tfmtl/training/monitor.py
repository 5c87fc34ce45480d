"""Which values of a monitored metric are better, by its name."""

import re

BETTER = {
    "min": "loss logloss mae mse rmse ne entropy error ece",
    "max": "auc gauc uauc xauc gxauc accuracy precision recall ndcg mrr hit gain "
    "correlation",
    "one": "calibration",
}


def better(monitor: str) -> str:
    """Returns which values of a metric are better by its name: "min", "max" or "one".

    Example:
    >>> better("val_click_gauc"), better("val_watch_mae"), better("val_loss")
    ('max', 'min', 'min')
    """
    # From the end, as a task may be called "loss".
    for word in reversed(re.split(r"[^a-z]+", monitor.lower())):
        for mode, words in BETTER.items():
            if word in words.split():
                return mode
    raise ValueError(
        f"The name of the monitor does not say which of its values are better. "
        f"Received: {monitor!r}. Give mode='min', 'max' or 'one' (nearest to 1)."
    )
