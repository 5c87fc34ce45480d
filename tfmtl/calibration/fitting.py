"""A pass over a dataset that fits every task's calibration."""

import keras
import numpy as np
import tensorflow as tf

from tfmtl.calibration.rows import Rows, ratio_of

_TIMES = 10  # the rows of a domain, of what a task needs at least


def calibrate(model, data) -> dict[str, dict]:
    """See `MultiTaskModel.calibrate`."""
    tasks = [task for task in model.tasks if task.name in model.calibrations]
    model.reset_calibrations()

    @tf.function(reduce_retracing=True, autograph=False)
    def rows_of(x, y, sample_weight):
        predictions = model(x, training=False)
        rows = model._rows(x, y, sample_weight)
        found = {}
        for task in tasks:
            score = tf.squeeze(predictions[task.name], -1)
            domain = model.calibration_domain(task, x)
            domain = tf.zeros_like(score) if domain is None else domain
            domain = tf.cast(domain, score.dtype)
            label, weight = rows[task.name]
            weight = weight / task.loss[0].share_kept(label)
            found[task.name] = tf.stack([score, label, weight, domain])
        return found

    rows: dict[str, dict[int, Rows]] = {task.name: {} for task in tasks}
    for batch in data if tasks else ():
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise ValueError(
                "A calibration needs labels: in the table, or as the second of "
                "(features, labels). Received: features alone."
            )
        for name, found in rows_of(x, y, sample_weight).items():
            *values, domain = found.numpy()
            for value in np.unique(domain):
                of_domain = rows[name].setdefault(int(value), Rows())
                of_domain.add(*np.stack(values)[:, domain == value])
    return {
        task.name: _fit(task, model.calibrations[task.name], rows[task.name])
        for task in tasks
    }


def _fit(task, layer, by_domain: dict[int, Rows]) -> dict:
    """Fits one task, and says what has come of it; see `MultiTaskModel.calibrate`."""
    whole, apart = Rows.of(by_domain.values()), []
    reason = _fit_rows(task, layer, whole, layer.least)
    if task.calibration_by and not reason:
        # A domain has many times the rows, since its map is for less.
        least = _TIMES * layer.least
        for domain, rows in sorted(by_domain.items()):
            if not _fit_rows(task, layer, rows, least, domain):
                apart.append(domain)
    before = after = labels = 0.0
    for domain, rows in by_domain.items():
        score, label, weight = rows.pooled()
        domains = np.full(len(score), domain) if task.calibration_by else None
        mapped = np.asarray(layer(score[:, None].astype("float32"), domains))[:, 0]
        before += weight @ score
        after += weight @ mapped.astype("float64")
        labels += weight @ label
    return {
        "method": task.calibration,
        "rows": whole.rows,
        "before": ratio_of(before, labels),
        "after": ratio_of(after, labels),
        **({"by": task.calibration_by, "apart": apart} if task.calibration_by else {}),
        **({"reason": reason} if reason else {}),
    }


def _fit_rows(task, layer, rows: Rows, least: int, domain: int | None = None) -> str:
    """Fits one map; returns why it cannot, or ""."""
    if reason := rows.lacking(task.kind, least):
        return reason
    try:
        layer.fit(*rows.pooled(), domain)
    except ValueError as error:
        return str(error)
    return ""
