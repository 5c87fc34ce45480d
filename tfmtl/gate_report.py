"""Which experts a model uses: its gates' weights over a dataset."""

import numpy as np
import tensorflow as tf

from tfmtl import _errors
from tfmtl.layers.gates import record_gates


def gate_report(model, data, domain: str | None = None) -> dict[str, dict]:
    """See `MultiTaskModel.gate_report`."""
    names = [feature.name for feature in model.features]
    if domain is not None:
        _errors.check_choice("domain", domain, names)
    labels: dict[str, list[str]] = {}

    @tf.function(reduce_retracing=True)
    def weights_of(inputs):
        with record_gates() as gates:
            model(inputs, training=False)
        labels.update({path: list(named) for path, (_, named) in gates.items()})
        rows = tf.shape(inputs[names[0]])[0]
        # A gate that does not depend on the input has one weight for all rows.
        return {
            path: tf.broadcast_to(
                tf.cast(weights, "float32"), (rows, weights.shape[-1])
            )
            for path, (weights, _) in gates.items()
        }

    sums: dict[tuple[str, int | None], list] = {}
    for inputs in _batches(data):
        weights = weights_of(
            {name: tf.convert_to_tensor(inputs[name]) for name in names}
        )
        if not weights:
            raise ValueError(
                f"A gate report needs a model with gates. Received: {model.name!r}, "
                "which has none."
            )
        ids = None if domain is None else np.asarray(inputs[domain]).reshape(-1)
        for path, w in weights.items():
            _add(sums, (path, None), w.numpy())
            if ids is not None:
                for value in np.unique(ids):
                    _add(sums, (path, int(value)), w.numpy()[ids == value])
    report = {
        path: {"labels": labels[path], **_moments(total), "domains": {}}
        for (path, value), total in sums.items()
        if value is None
    }
    for (path, value), total in sorted(sums.items(), key=lambda item: str(item[0])):
        if value is not None:
            report[path]["domains"][value] = _moments(total)
    return report


def _batches(data):
    """Yields dicts of features."""
    if isinstance(data, dict):
        data = tf.data.Dataset.from_tensor_slices(data).batch(4096)
    for batch in data:
        yield batch[0] if isinstance(batch, tuple) else batch


def _add(sums, key, weights) -> None:
    weights = weights.astype("float64")
    total = sums.setdefault(key, [0, 0.0, 0.0])
    total[0] += len(weights)
    total[1] = total[1] + weights.sum(axis=0)
    total[2] = total[2] + (weights**2).sum(axis=0)


def _moments(total) -> dict:
    rows, first, second = total
    mean = first / rows
    return {
        "rows": rows,
        "mean": mean,
        "std": np.sqrt(np.maximum(second / rows - mean**2, 0)),
    }
