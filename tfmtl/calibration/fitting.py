"""A pass over a dataset that fits every task's calibration."""

import keras
import numpy as np
import tensorflow as tf

from tfmtl.calibration.rows import Rows, ratio_of


def calibrate(model, data) -> dict[str, dict]:
    """See `MultiTaskModel.calibrate`."""
    tasks = [task for task in model.tasks if task.name in model.calibrations]
    model.reset_calibrations()

    @tf.function(reduce_retracing=True)
    def rows_of(x, y, sample_weight):
        predictions = model(x, training=False)
        rows = model._rows(x, y, sample_weight)
        return {
            task.name: tf.stack(
                [tf.squeeze(predictions[task.name], -1), *rows[task.name]]
            )
            for task in tasks
        }

    rows = {task.name: Rows() for task in tasks}
    for batch in data if tasks else ():
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise ValueError(
                "A calibration needs a dataset of (features, labels), or (features, "
                "labels, sample_weight). Received: one without labels. Arrays become "
                "one by tf.data.Dataset.from_tensor_slices((features, labels))"
                ".batch(1024)."
            )
        for name, found in rows_of(x, y, sample_weight).items():
            rows[name].add(*found.numpy())
    report = {}
    for task in tasks:
        layer, of_task = model.calibrations[task.name], rows[task.name]
        score, label, weight = of_task.pooled()
        reason = of_task.lacking(task.kind, layer.least)
        if not reason:
            try:
                layer.fit(score, label, weight)
            except ValueError as error:
                reason = str(error)
        after = np.asarray(layer(score[:, None].astype("float32")))[:, 0]
        report[task.name] = {
            "method": task.calibration,
            "rows": of_task.rows,
            "before": ratio_of(weight @ score, weight @ label),
            "after": ratio_of(weight @ after.astype("float64"), weight @ label),
            **({"reason": reason} if reason else {}),
        }
    return report
