"""What people give to `fit`, `evaluate` and `predict`, as arrays that Keras reads.

Columns may come as arrays, lists, tensors, or the columns of a DataFrame: pandas',
polars' or an Arrow table. Datasets and generators are left as they are.
"""

import warnings
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import tensorflow as tf

from tfmtl import _errors
from tfmtl.features import (
    Categorical,
    Multivalued,
    Numeric,
    NumericSequence,
    Sequence,
    Vector,
    column_of,
    side_fields,
)
from tfmtl.ids import NO_ID, as_integers
from tfmtl.tasks import columns_beside

_KINDS = {"b": "booleans", "O": "Python objects", "M": "times", "m": "durations"}
_KINDS |= dict.fromkeys("US", "texts") | dict.fromkeys("iu", "integers")
_TAKES = {
    Categorical: "one id a row: integers, or texts with vocabulary=[...]",
    Numeric: "one number a row",
    Sequence: "a list of ids a row",
    NumericSequence: "a list of numbers a row",
    Multivalued: "a list of ids a row",
    Vector: "a vector of numbers a row",
}


def columns_of(x) -> dict | None:
    """Returns {column: values} of a dict or a table; None for anything else."""
    if isinstance(x, Mapping):
        return dict(x)
    names = getattr(x, "column_names", getattr(x, "columns", None))
    return None if names is None else {str(name): x[name] for name in names}


def read_features(x, features: list, tasks: list):
    """Returns the features of arrays as {name: array}, and columns that tasks name.

    Args:
        x: Dict {feature: column}, or table. Datasets, generators and None are returned
            as they are.
        features: List of features.
        tasks: List of `Task`.

    Raises:
        ValueError: If a feature is missing, or its column is not what it takes.
    """
    columns = columns_of(x)
    if columns is None:
        has_no_names = isinstance(x, np.ndarray | list | tuple) or tf.is_tensor(x)
        if has_no_names or hasattr(x, "to_numpy"):  # a column of pandas' or polars'
            raise ValueError(
                "Features must be a dict {name: column}, a DataFrame, or a dataset of "
                f"dicts. Received: {type(x).__name__} without names."
            )
        return x
    owners = {f.name: f for f in features if isinstance(f, Categorical)}
    found = {}
    for feature in features:
        owner = owners.get(getattr(feature, "of", feature.name))
        column = column_of(feature.name, columns)
        found[feature.name] = _read(feature, owner, column)
        if weights := getattr(feature, "weights", None):
            beside = column_of(weights, columns)
            found[weights] = _read_weights(feature, column, beside)
    for name, fields in side_fields(features).items():
        for field in fields:
            _check_lengths(name, field.name, columns)
    for name in columns_beside(tasks):
        if name in columns and name not in found:
            found[name] = numbers_of(f"Column {name!r}", columns[name])
    check_rows(found)
    return found


def read_labels(y, tasks: list):
    """Returns labels as {column: array}, or one array; NaN where one is missing.

    Args:
        y: Dict or table with the columns that the tasks name; others are left out. Or
            the labels alone, of a single task. None is returned as it is.
        tasks: List of `Task`.

    Raises:
        ValueError: If a column holds no numbers, or what is no label of its task.
    """
    if y is None:
        return None
    columns = columns_of(y)
    if columns is None:
        if len(tasks) > 1 and not isinstance(y, tf.data.Dataset):
            raise ValueError(
                "Labels must be a dict with the keys "
                f"{[task.label for task in tasks]}, or a table. Received: "
                f"{type(y).__name__}."
            )
        return numbers_of("The label", y)
    wanted = {task.label for task in tasks} | {*columns_beside(tasks)}
    found = {
        n: numbers_of(f"Label {n!r}", c) for n, c in columns.items() if n in wanted
    }
    check_rows(found)
    for task in tasks:
        if isinstance(label := found.get(task.label), np.ndarray):
            _check_label(task, label)
    return found


def _check_label(task, label):
    """Raises a ValueError for labels that a step would refuse, without its traceback.

    Of tasks with a space, a duration or an elapsed time, the step knows which rows
    count.
    """
    if task.kind == "regression" or task.space or task.duration or task.elapsed:
        return
    most, rule = task.largest_label
    wrong = (label < 0) | (label > most)
    if task.kind == "classes":
        wrong |= label % 1 > 0
    wrong = np.flatnonzero(wrong)
    if len(wrong):
        raise ValueError(
            f"A label of {task.kind} task {task.name!r} must be {rule}. Received: "
            f"{np.ravel(label)[wrong[0]]} in row {wrong[0]}; such rows: {len(wrong)}."
        )


def warn_of_order(x, y) -> None:
    """Warns of tables of pandas' whose rows are not in the same order."""
    one, other = (getattr(part, "index", None) for part in (x, y))
    if hasattr(one, "equals") and hasattr(other, "equals") and not one.equals(other):
        warnings.warn(
            "Rows of features and labels are paired by their order, but their indexes "
            "differ. Bring both into one order, as by y.loc[x.index].",
            stacklevel=4,
        )


def warn_without_labels(y, tasks: list) -> None:
    """Warns of tasks of whose labels none is given; `y` is from `read_labels`."""
    columns = y if isinstance(y, dict) else dict.fromkeys([t.label for t in tasks], y)
    for task in tasks:
        label = columns.get(task.label)
        if isinstance(label, np.ndarray) and len(label) and np.isnan(label).all():
            warnings.warn(
                f"No row has a label of task {task.name!r}, so it learns nothing. "
                f"Received: only missing values in {task.label!r}.",
                stacklevel=3,
            )


def read_weights(sample_weight, class_weight, y, tasks: list):
    """Returns row weights as Keras takes them: one array, or one for each label.

    Args:
        sample_weight: Column of (rows,), dict {task or label: column}, or None. Labels
            without weights weigh 1.
        class_weight: Dict {task: {class: weight}}, for a single task {class: weight},
            or None.
        y: What `read_labels` returned.
        tasks: List of `Task`.

    Raises:
        ValueError: If a name is neither a task's nor a label's.
    """
    if class_weight is None and columns_of(sample_weight) is None:
        if sample_weight is None:
            return None
        return numbers_of("sample_weight", sample_weight, missing=0.0)
    labels = y if isinstance(y, dict) else {tasks[0].label: y}
    weights = columns_of(sample_weight)
    if weights is None:
        every = () if sample_weight is None else [task.label for task in tasks]
        weights = dict.fromkeys(every, sample_weight)
    places = {task.name: task.label for task in tasks} | {name: name for name in labels}
    by_class = _by_task(class_weight, tasks)
    for what, given in (("sample_weight", weights), ("class_weight", by_class)):
        for name in given:
            if name not in places:
                raise ValueError(
                    f"{what} must name tasks or labels. Received: {name!r}."
                    f"{_errors.nearest(name, places)}"
                )
    of_label = {name: np.ones(len(column)) for name, column in labels.items()}
    for name, column in weights.items():
        of_label[places[name]] = numbers_of(f"The weight of {name!r}", column, 0.0)
    for name, weight_of in by_class.items():
        label = np.reshape(labels[places[name]], -1)
        factors = np.ones(len(label))
        for value, factor in weight_of.items():
            factors[label == value] = factor
        of_label[places[name]] = np.reshape(of_label[places[name]], -1) * factors
    return of_label if isinstance(y, dict) else of_label[tasks[0].label]


def _by_task(class_weight, tasks) -> dict:
    """Returns {task: {class: weight}}."""
    if class_weight is None:
        return {}
    if all(isinstance(weights, Mapping) for weights in class_weight.values()):
        return class_weight
    if len(tasks) > 1:
        raise ValueError(
            "class_weight of several tasks must say whose: {task: {class: weight}}. "
            f"Received: the keys {list(class_weight)}."
        )
    return {tasks[0].name: class_weight}


def _read(feature, owner, column):
    """Returns the column of a feature; `owner` is that whose table it looks up."""
    what = f"{type(feature).__name__} {feature.name!r}"
    if isinstance(feature, Vector) and not _has_shape(column):
        column = _vectors(what, column, feature.dim)
    elif isinstance(feature, NumericSequence):
        if not _has_shape(column):
            column = _padded(what, column, feature.max_length, np.nan)
        column = numbers_of(what, column)
    elif isinstance(feature, Numeric | Vector):
        column = numbers_of(what, column)
    else:
        missing = _missing(owner)
        if feature.shape and not _has_shape(column):
            column = _padded(what, column, feature.max_length, missing)
        column = _ids(what, column, feature, missing)
    wanted, shape = feature.shape, tuple(column.shape)
    if shape[1:] not in (wanted, wanted or (1,)):
        shapes = f"(rows, {wanted[0]})" if wanted else "(rows,) or (rows, 1)"
        raise ValueError(
            f"{what} takes {_TAKES[type(feature)]}, shape {shapes}. Received: shape "
            f"{shape}."
        )
    return column


def _check_lengths(events, field, columns):
    """Raises unless lists of the same events are equally long, or missing."""
    given = [columns[name] for name in (field, events)]
    if any(map(_has_shape, given)):
        return
    sizes = [[len(row) for row in _lists("", "a list", column)] for column in given]
    for i, (own, wanted) in enumerate(zip(*sizes, strict=False)):
        if own and wanted and own != wanted:
            raise ValueError(
                f"{field!r} and {events!r} must list the same events. Received: {own} "
                f"and {wanted} in row {i}."
            )


def _read_weights(feature, ids, column):
    """Returns the weights of several ids a row, 0 where there is none."""
    what = f"Weights {feature.weights!r} of {feature.name!r}"
    if not _has_shape(column):
        if not _has_shape(ids):
            takes = "as many numbers as there are ids"
            sizes = [
                [len(row) for row in _lists(what, takes, lists)]
                for lists in (ids, column)
            ]
            for i, (wanted, given) in enumerate(zip(*sizes, strict=False)):
                if wanted != given:
                    raise ValueError(
                        f"{what} must be as many as the ids. Received: {given} of "
                        f"{wanted} ids in row {i}."
                    )
        column = _padded(what, column, feature.max_length, 0.0)
    column = numbers_of(what, column, 0.0)
    if tuple(column.shape)[1:] != feature.shape:
        raise ValueError(
            f"{what} must have shape (rows, {feature.max_length}). Received: shape "
            f"{tuple(column.shape)}."
        )
    return column


def _has_shape(column) -> bool:
    """Returns whether a column is an array of equally many values a row."""
    if isinstance(column, tf.RaggedTensor):
        return False
    return hasattr(column, "shape") and len(column.shape) != 1


def _missing(owner):
    """Returns what stands for a missing id: what no vocabulary holds, else 0."""
    if owner.vocabulary is None:
        return 0
    return "" if owner.dtype == "string" else NO_ID


def _padded(what, column, length, missing) -> np.ndarray:
    """Returns lists as (rows, max_length): of longer ones the last values count."""
    rows = [list(row)[-length:] for row in _lists(what, _TAKES[Sequence], column)]
    filled = np.full((len(rows), length), missing, object)
    for found, row in zip(filled, rows, strict=True):
        found[: len(row)] = row
    return filled


def _vectors(what, column, dim) -> np.ndarray:
    """Returns lists of numbers as (rows, dim); NaN of a row without a list."""
    rows = _lists(what, _TAKES[Vector], column)
    for i, row in enumerate(rows):
        if len(row) not in (0, dim):
            raise ValueError(
                f"{what} takes vectors of {dim} numbers. Received: {len(row)} in row "
                f"{i}."
            )
    missing = [np.nan] * dim
    flat = [value for row in rows for value in (missing if not len(row) else row)]
    return np.reshape(numbers_of(what, flat), (len(rows), dim))


def _lists(what, takes, column) -> list:
    """Returns the list of each row; an empty one where it is missing."""
    for to_list in ("to_pylist", "to_list"):  # Arrow; ragged tensors, pandas, polars
        if hasattr(column, to_list):
            column = getattr(column, to_list)()
            break
    rows = []
    for row in column:
        if row is np.ma.masked or _is_missing(row):
            row = ()
        if isinstance(row, str | bytes) or not hasattr(row, "__len__"):
            raise ValueError(
                f"{what} takes {takes}. Received: {type(row).__name__} in row "
                f"{len(rows)}."
            )
        rows.append(row)
    return rows


def _ids(what, column, feature, missing):
    """Returns a column of ids as integers, or as texts of the feature's vocabulary."""
    array = _array(column, missing)
    if not isinstance(array, np.ndarray):
        if not array.dtype.is_floating:
            return array
        array = array.numpy()
    if array.dtype.kind == "O":
        array = _of_objects(array, missing)
    if missing == "":
        if not _are_texts(array):
            raise ValueError(
                f"{what} takes the texts of its vocabulary. Received: "
                f"{_kind(array)}; convert them as those of the vocabulary were."
            )
        return tf.constant(array.astype(object))
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{what} takes {_TAKES[type(feature)]}. Received: {_kind(array)}."
        )
    if array.dtype.kind != "f":
        return array
    # Keras would make float32 of them, and so one id of many.
    return np.where(np.isnan(array), missing, as_integers(array, feature.name).numpy())


def numbers_of(what, column, missing=np.nan):
    """Returns a column as numbers, with `missing` where there is none."""
    array = _array(column, missing)
    if not isinstance(array, np.ndarray):
        return array
    if array.dtype.kind == "O":
        array = _of_objects(array, missing)
    if array.dtype.kind == "b":
        return array.astype("float32")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{what} takes numbers. Received: {_kind(array)}.")
    return array


def values_of(column) -> np.ndarray:
    """Returns what a column holds: numbers, times, or objects with None for gaps."""
    array = _array(column, np.nan)
    array = array.numpy() if tf.is_tensor(array) else array
    if array.dtype.kind == "O":
        array = _of_objects(array, None)
        array = array if array.dtype.kind == "O" else _of_objects(array, np.nan)
    return array.astype(object) if array.dtype.kind in "US" else array


def _array(column, missing):
    """Returns a column as an array; tensors stay."""
    if tf.is_tensor(column):
        return column
    if hasattr(column, "sparse"):  # pandas
        column = column.sparse.to_dense()
    if isinstance(column, np.ma.MaskedArray):
        if isinstance(missing, float) and column.dtype.kind != "f":
            column = column.astype("float64")
        return column.filled(missing)
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    if kind in tuple("biu") and hasattr(column, "isna"):  # pandas, which may have gaps
        if not np.asarray(column.isna()).any():
            return column.to_numpy(dtype=f"{kind}{column.dtype.itemsize}")
        wide = "float64" if isinstance(missing, float) else "int64"
        return column.to_numpy(dtype=wide, na_value=missing)
    if isinstance(column, list | tuple):
        try:
            array = np.asarray(column)
        except ValueError:  # of different lengths
            return _objects(column)
        # NumPy makes texts of all if one is: NaN would be "nan".
        return _objects(column) if array.dtype.kind in "US" else array
    return np.asarray(column)


def _objects(values) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _of_objects(array: np.ndarray, missing) -> np.ndarray:
    """Returns Python objects as the numbers or texts that they are, or as they are.

    None, NaN and pandas' NA are missing.
    """
    flat = array.reshape(-1).copy()
    gaps = np.array([_is_missing(value) for value in flat], bool)
    flat[gaps] = missing
    for i in np.flatnonzero([isinstance(value, Decimal) for value in flat]):
        flat[i] = int(flat[i]) if flat[i] == flat[i].to_integral() else float(flat[i])
    types = {type(value) for value in flat[~gaps]}
    if all(issubclass(t, bool | int | float | np.number | np.bool_) for t in types):
        flat = np.asarray(flat.tolist())
    return flat.reshape(array.shape)


def _are_texts(array: np.ndarray) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(value, str | bytes) for value in array.reshape(-1))
    return array.dtype.kind in "US" or not array.size


def _is_missing(value) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | Decimal) and value != value


def _kind(array: np.ndarray) -> str:
    """Returns what an array holds, in words."""
    if array.dtype.kind == "O":
        for value in array.reshape(-1):
            if not _is_missing(value):
                what = "texts" if isinstance(value, str) else type(value).__name__
                return f"{what} (shape {array.shape})"
    return f"{_KINDS.get(array.dtype.kind, array.dtype.name)} (shape {array.shape})"


def check_rows(features: dict, labels=None, weights=None) -> None:
    """Raises a ValueError unless all columns have equally many rows.

    Args:
        features: {name: column}.
        labels: The same, one column, or None.
        weights: The same, one column, or None.
    """
    columns = dict(features)
    for what, part in (("label", labels), ("weight", weights)):
        if part is not None:
            named = part if isinstance(part, dict) else {"": part}
            columns |= {f"{what} {name}".strip(): named[name] for name in named}
    rows = {name: tuple(column.shape)[:1] for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        first = next(iter(rows))
        other = next(name for name in rows if rows[name] != rows[first])
        sizes = [n[0] if n else "none" for n in (rows[first], rows[other])]
        raise ValueError(
            f"All columns must have equally many rows. Received: {sizes[0]} of "
            f"{first!r}, {sizes[1]} of {other!r}."
        )
