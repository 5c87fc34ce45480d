"""Small logs whose columns are what their names say."""

import numpy as np
import pyarrow as pa

from pipeline.config.reading import Reading
from pipeline.init.draft import Asked, draft
from pipeline.init.sample import Sample

ROWS = 2000


def columns(**more):
    """A log of clicks, by time; `more` adds columns or takes them away (None)."""
    rng = np.random.default_rng(0)
    price = rng.exponential(5, ROWS)
    click = rng.random(ROWS) < np.where(price < 4, 0.8, 0.2)
    found = {
        "timestamp": np.arange(ROWS) + 1_700_000_000,
        "user_id": rng.integers(0, 90, ROWS),
        "item_id": [f"i{i}" for i in rng.integers(0, 40, ROWS)],
        "price": price,
        "click": click.astype(int),
        **more,
    }
    return {name: values for name, values in found.items() if values is not None}


def sampled(**more):
    """Such a log, as it is looked at."""
    rows = pa.table(columns(**more))
    return Sample(rows, Reading(), ["x.parquet"], 1, rows.num_rows, True)


def drafted(asked=None, **more):
    """What is guessed about such a log."""
    return draft(sampled(**more), asked or Asked())


def features(found):
    """{column: its entry of `features`}."""
    return {c.name: c.feature for c in found.choices if c.feature}


def reasons(found):
    """{column: why it is no feature}."""
    return {c.name: c.reason for c in found.choices if c.feature is None}


def tasks(found):
    """{task: its sample space}."""
    return {label.task: label.space for label in found.labels}


def where(condition, then, other=None):
    """A list with `then` where a condition holds."""
    then = np.broadcast_to(then, len(condition)).tolist()
    return [t if c else other for c, t in zip(condition, then, strict=True)]
