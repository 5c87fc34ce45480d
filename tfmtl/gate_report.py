"""Which experts a model uses: its gates' weights over a dataset."""

import functools

import numpy as np
import tensorflow as tf

from tfmtl.features import check_domain, column_of, input_specs
from tfmtl.inputs import columns_of, read_features
from tfmtl.layers.blocks.gates import record_gates
from tfmtl.layers.embedding.table_rows import rows_of_table


class GateReport(dict):
    """What `MultiTaskModel.gate_report` returns: a dict that prints as a table."""

    def __repr__(self) -> str:
        """A line a gate and domain, with the mean and deviation of each weight."""
        lines = []
        for level, gates in self.levels().items():
            lines.append(f"{level}: mean weight and its deviation over the rows")
            width = max(len(name) for name in gates)
            for name, gate in gates.items():
                weights = zip(gate["labels"], gate["mean"], gate["std"], strict=True)
                shown = "  ".join(f"{x} {m:.2f} ± {s:.2f}" for x, m, s in weights)
                lines.append(f"  {name:<{width}}  {shown}  ({gate['rows']:,} rows)")
        return "\n".join(lines)

    def levels(self) -> dict[str, dict[str, dict]]:
        """Returns {layer: {gate, or gate and domain: its labels, rows, mean, std}}."""
        levels: dict[str, dict[str, dict]] = {}
        for path, gate in self.items():
            level, _, name = path.rpartition("/")
            found = levels.setdefault(level, {})
            found[name] = gate
            for value, part in gate["domains"].items():
                found[f"{name}, {value}"] = part | {"labels": gate["labels"]}
        return levels

    def plot(self):
        """Draws a heat map a layer, as PLE's figure 8; needs matplotlib.

        Returns:
            The matplotlib figure.
        """
        from matplotlib import pyplot as plt

        levels = self.levels()
        rows = [len(gates) for gates in levels.values()]
        most = max(
            np.max(gate["mean"]) for of in levels.values() for gate in of.values()
        )
        figure, axes = plt.subplots(
            len(rows),
            squeeze=False,
            height_ratios=rows,
            figsize=(6.4, 1.2 * len(rows) + 0.4 * sum(rows)),
            layout="constrained",
        )
        plt.close(figure)  # else a notebook shows it twice
        for ax, (level, gates) in zip(axes[:, 0], levels.items(), strict=True):
            labels = [label for gate in gates.values() for label in gate["labels"]]
            labels = list(dict.fromkeys(labels))
            cells = np.full((len(gates), len(labels)), np.nan)
            for row, gate in zip(cells, gates.values(), strict=True):
                row[[labels.index(label) for label in gate["labels"]]] = gate["mean"]
            ax.imshow(cells, cmap="Blues", vmin=0, vmax=most, aspect="auto")
            for (row, column), mean in np.ndenumerate(cells):
                if not np.isnan(mean):
                    colour = "white" if mean > 0.6 * most else "black"
                    ax.text(column, row, f"{mean:.2f}", ha="center", va="center",
                            color=colour)  # fmt: skip
            ax.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
            ax.set_yticks(range(len(gates)), gates)
            ax.set_title(level)
        return figure


def gate_report(model, data, domain: str | None = None) -> GateReport:
    """See `MultiTaskModel.gate_report`."""
    by = check_domain(model.features, domain)
    labels: dict[str, list[str]] = {}
    sums: dict[tuple[str, int | None], list] = {}
    for inputs in batches(data, model.features):
        weights = in_graph(model, _weights, inputs)
        if not weights:
            raise ValueError(
                f"A gate report needs a model with gates. Received: {model.name!r}, "
                "which has none."
            )
        ids = None
        if by is not None:  # the rows of its table, as in metrics by domain
            ids = np.asarray(rows_of_table(inputs[domain], by)).reshape(-1)
        if not labels:
            with record_gates() as gates:
                model({name: x[:1] for name, x in inputs.items()}, training=False)
            labels = {path: list(named) for path, (_, named) in gates.items()}
        for path, w in weights.items():
            _add(sums, (path, None), w.numpy())
            if ids is not None:
                for value in np.unique(ids):
                    _add(sums, (path, int(value)), w.numpy()[ids == value])
    if not sums:
        raise ValueError("A gate report needs rows. Received: a dataset without any.")
    report = GateReport(
        {
            path: {"labels": labels[path], **_moments(total), "domains": {}}
            for (path, row), total in sums.items()
            if row is None
        }
    )
    values = dict(enumerate(by.vocabulary, 1)) if by and by.vocabulary else None
    for path, row in sorted(key for key in sums if key[1] is not None):
        name = row if values is None else values.get(row, f"row {row}")
        report[path]["domains"][name] = _moments(sums[path, row])
    return report


def _weights(model, inputs):
    """Returns {gate: its weights for each row, (batch, n)}."""
    with record_gates() as gates:
        model(inputs, training=False)
    rows = tf.shape(next(iter(inputs.values())))[0]
    # A gate that does not depend on the input has one weight for all rows.
    return {
        path: tf.broadcast_to(tf.cast(weights, "float32"), (rows, weights.shape[-1]))
        for path, (weights, _) in gates.items()
    }


def in_graph(model, function, inputs):
    """Returns function(model, inputs), run as a graph that the model keeps.

    To trace it takes longer than to run. (Of a `tf.function` of many models, TensorFlow
    warns that it is traced too often.)
    """
    specs = {
        name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in inputs.items()
    }
    graphs = vars(model).setdefault("_graphs", {})
    key = (function, *specs.values())
    if key not in graphs:
        traced = tf.function(functools.partial(function, model))
        graphs[key] = traced.get_concrete_function(specs)
    return graphs[key](inputs)


def batches(data, features):
    """Yields dicts {feature: tensor} of at least one row."""
    if isinstance(data, tuple):
        raise ValueError(
            "data must be a dict of feature arrays, without labels, or a dataset. "
            f"Received: a tuple of {len(data)}."
        )
    if columns_of(data) is not None:
        data = read_features(data, features, [])
        data = tf.data.Dataset.from_tensor_slices(data).batch(4096)
    for batch in data:
        batch = batch[0] if isinstance(batch, tuple) else batch
        if not isinstance(batch, dict):
            raise ValueError(
                "data must hold dicts {feature: array}, or (features, labels). "
                f"Received: {type(batch).__name__}."
            )
        inputs = {}
        for name, (shape, _) in input_specs(features).items():
            x = inputs[name] = tf.convert_to_tensor(column_of(name, batch))
            if len(x.shape) <= len(shape):
                raise ValueError(
                    "data must come in batches, so call `dataset.batch(...)`. "
                    f"Received: {name!r} of shape {tuple(x.shape)}."
                )
        if x.shape[0]:
            yield inputs


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
