"""A new model takes over what an old one has learnt, by value where ids changed."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from tfmtl.calibration import Calibration
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.embedding.sharded_table import read_rows, write_rows


def warm_start(
    model: keras.Model,
    old: keras.Model | Mapping[str, np.ndarray],
    vocabularies: Mapping[str, Iterable] | None = None,
    old_vocabularies: Mapping[str, Iterable] | None = None,
) -> dict:
    """Copies weights from an old model; rows of tables by the value they stand for.

    A weight is copied from the one of the same path, see `places`, and shape. The rows
    of a table are matched by the vocabularies: row i is the embedding of the i-th
    value, and row 0 (missing, unknown) stays row 0; so do the rows of `oov_buckets`, if
    there are as many, at the end. So learnt values keep their embedding where the
    vocabulary grows, shrinks or is ordered anew, and new values start as they are
    initialised. A table with a vocabulary on one side only is left alone, as its ids
    mean something else now.

    The optimizer starts anew. Of sharded tables under a strategy, all workers call
    this.

    Args:
        model: The new model; its weights are overwritten.
        old: A model, or {path: array} of its weights, with the paths of `places`.
        vocabularies: {feature: values in the order of their ids, from 1}, of the new
            model's tables. Defaults to none: ids mean what they meant.
        old_vocabularies: The same of the old one's.

    Returns:
        {"copied": [path], "rows": {path: (rows copied, rows of a vocabulary)},
        "left": {path: reason}}, where all weights of the new model occur once but
        those of calibrations, which `fit` would reset.

    Raises:
        ValueError: If an old weight is not finite; the new model is as it was.

    Example:
        >>> import tfmtl
        >>> def model(size):
        ...     item = tfmtl.Categorical("item", vocabulary_size=size)
        ...     return tfmtl.models.get("shared_bottom")([item], [tfmtl.Task("click")])
        >>> report = warm_start(
        ...     model(4), model(3), {"item": ["a", "b", "c"]}, {"item": ["c", "a"]}
        ... )
        >>> report["rows"]
        {'embedding/item': (2, 3)}
    """
    if isinstance(old, keras.Model):
        old = {
            path: read_rows(weight, rows)
            for path, (weight, rows) in places(old).items()
        }
    vocabularies, old_vocabularies = (
        {feature: list(values) for feature, values in (given or {}).items()}
        for given in (vocabularies, old_vocabularies)
    )
    broken = [path for path in places(model) if not np.isfinite(old.get(path, 0)).all()]
    if broken:
        raise ValueError(
            "The weights of the old model must be finite. Received: NaN or inf in "
            f"{broken[0]!r}, and in {len(broken) - 1} more. Take a version before it."
        )
    report = {"copied": [], "rows": {}, "left": {}}
    for path, (weight, rows) in places(model).items():
        shape = tuple(weight.shape)
        if rows is not ...:
            shape = (rows.stop - rows.start, *shape[1:])
        feature = path.rpartition("/")[2]
        if path not in old:
            report["left"][path] = "the old model has none"
        elif feature in vocabularies and feature in old_vocabularies:
            if old[path].shape[1:] != shape[1:]:
                report["left"][path] = f"{old[path].shape} has become {shape}"
                continue
            new_rows, old_rows = match_rows(
                vocabularies[feature], old_vocabularies[feature]
            )
            table = read_rows(weight, rows)
            others = len(table) - 1 - len(vocabularies[feature])
            if 0 < others == len(old[path]) - 1 - len(old_vocabularies[feature]):
                table[-others:] = old[path][-others:]
            fits = (new_rows < len(table)) & (old_rows < len(old[path]))
            new_rows, old_rows = new_rows[fits], old_rows[fits]
            table[new_rows] = old[path][old_rows]
            table[0] = old[path][0]
            write_rows(weight, rows, table)
            report["rows"][path] = (len(new_rows), len(table) - 1)
        elif feature in vocabularies or feature in old_vocabularies:
            report["left"][path] = "only one of the models has a vocabulary"
        elif old[path].shape != shape:
            report["left"][path] = f"{old[path].shape} has become {shape}"
        else:
            write_rows(weight, rows, old[path])
            report["copied"].append(path)
    return report


def match_rows(values: Iterable, old_values: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows, new and old, of the values that both vocabularies hold.

    Args:
        values: The new vocabulary, in the order of its ids, from 1.
        old_values: The old one.

    Example:
    >>> match_rows(["a", "b", "c"], ["c", "a"])
    (array([1, 3]), array([2, 1]))
    """
    old_rows = {value: row for row, value in enumerate(old_values, 1)}
    pairs = [
        (row, old_rows[value])
        for row, value in enumerate(values, 1)
        if value in old_rows
    ]
    new, old = np.array(pairs, "int64").reshape(-1, 2).T
    return new, old


def places(model: keras.Model) -> dict:
    """Returns {path: (weight, its rows)}, the paths without the model's name.

    The table of a feature has a path of its own, "embedding/FEATURE", though it is only
    a slice of rows of a weight; a table with a name has "embedding/TABLE". What a
    calibration has found is not among them: it belongs to the rest, as it is.

    Example:
    >>> import tfmtl
    >>> model = tfmtl.models.get("shared_bottom")(
    ...     [tfmtl.Categorical("item", vocabulary_size=9)], [tfmtl.Task("click")]
    ... )
    >>> list(places(model))[:2]
    ['embedding/item', 'sharing/bottom/dense_0/kernel']
    >>> places(model)["embedding/item"][1]
    slice(0, 9, None)
    """
    found, left_out = {}, set()
    for layer in model._flatten_layers():
        if isinstance(layer, Calibration):
            left_out |= {id(weight) for weight in layer.weights}
        if isinstance(layer, FeatureEmbedding):
            left_out |= {id(table) for table in layer.tables.values()}
            for table, feature in layer.owners.items():
                found[_path(f"{layer.path}/{table}")] = layer.place(feature)
    everything = ...  # of a scalar too
    for weight in model.weights:
        if id(weight) not in left_out:
            found[_path(weight.path)] = (weight, everything)
    return found


def _path(path):
    return path.partition("/")[2]
