"""From a table to the declarations of its features and tasks."""

import re
import warnings
from collections.abc import Mapping
from collections.abc import Sequence as Items

import numpy as np

from tfmtl import _errors, _label_names, inputs
from tfmtl.features import (
    Categorical,
    Feature,
    Multivalued,
    Numeric,
    Sequence,
    Vector,
    quantile_boundaries,
)
from tfmtl.label_leaks import follows, is_flag, leak, says_where_known
from tfmtl.tasks import Task

# An amount of a currency, or a share: "$1,234.50", "12.5 %".
_MARKED = re.compile(
    r"\(?[+-]?(?:[$€£¥₹]\s?[+-]?[\d.,]*\d|[\d.,]*\d\s?[%‰$€£¥₹])\)?", re.ASCII
)
_FEW = 100  # whole numbers of so few values are categories
_WORDS = 50_000  # the most frequent values have a row each, others share some
_SHARED_ROWS = 1_000
_ITEMS = 50


def from_dataframe(
    table,
    labels: Items[str],
    *,
    categorical: Items[str] = (),
    numeric: Items[str] = (),
    ignore: Items[str] = (),
) -> tuple[list[Feature], list[Task]]:
    """Declares a model's features and tasks from what the columns of a table hold.

    Look at what it returns before training: what a column means cannot always be seen
    in its values. A column that is known only after the label, such as what was paid,
    belongs into `ignore`.

    - A label of 0 and 1 (or booleans) is a binary task. One of two other whole numbers,
      such as 1 and 2, is refused. One of other numbers is a regression: in logarithms
      if none is negative, with a weight that keeps a large loss from hiding the others.
    - A 0/1 column, or label, that is 1 just where another label is known is the sample
      space of that label's task. So is an action for a number that is 0 without it, and
      an earlier stage of a funnel (a click) for a later one (a purchase) that is never
      1 without it.
    - Texts, booleans and whole numbers are `Categorical`, with the vocabulary that the
      table has; numbers of more than 100 values, most of them 0 or some negative, are
      amounts. These and fractions are `Numeric`, with boundaries at quantiles.
    - Lists of equally many fractions are a `Vector`, other lists a `Sequence` of the
      categorical column that has most of their items, or, without one, `Multivalued`.
    - Times, columns of one value, those of nearly as many values as rows, numbers with
      a sign ("$5", "7 %"), names that no feature may have, plays and the like without
      which a label is never 1, clicks, likes and other actions, times that were spent
      (such as "watch_seconds", but not one time for each item), and columns that tell
      a binary label (not 0 only where it is 1, or ranking it alone with an AUC
      above 0.99) are left out; a warning names them.

    Args:
        table: pandas or polars DataFrame, Arrow table, or dict {name: column}: rows to
            train on, not those to test on.
        labels: Names of the label columns, a click before what follows it.
        categorical: Names of columns that are categories, whatever they look like.
        numeric: Names of columns that are amounts, whatever they look like.
        ignore: Names of columns that are neither features nor labels.

    Returns:
        Features and tasks, as `tfmtl.models.get(name)(features, tasks)` takes them.

    Raises:
        ValueError: If a name is no column, a label holds no numbers or nothing but NaN,
            or no column can be a feature.

    Example:
    >>> table = {"tab": ["new", "hot"] * 4, "price": [0.5 * i for i in range(8)]}
    >>> table["click"] = [0, 1] * 4
    >>> features, tasks = from_dataframe(table, labels=["click"])
    >>> [type(feature).__name__ for feature in features], tasks[0].kind
    (['Categorical', 'Numeric'], 'binary')
    """
    columns = inputs.columns_of(table)
    if columns is None:
        raise ValueError(
            "from_dataframe takes a DataFrame or a dict {name: column}. Received: "
            f"{type(table).__name__}."
        )
    if len(names := [*map(str, getattr(table, "columns", ()))]) > len({*names}):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"Columns must have names of their own. Twice: {twice}.")
    if isinstance(labels, str) or not labels:
        raise ValueError(f"labels must be a list of columns. Received: {labels!r}.")
    for name in (*labels, *categorical, *numeric, *ignore):
        if name not in columns:
            raise ValueError(
                f"There is no column {name!r}.{_errors.nearest(name, columns)}"
            )
    of_labels = {
        name: np.asarray(inputs.numbers_of(f"Label {name!r}", columns[name]), "float64")
        for name in labels
    }
    for name, label in of_labels.items():
        if not np.isfinite(label).any():
            raise ValueError(
                f"Label {name!r} must have a number in some row. Received: "
                f"{len(label)} rows without."
            )
        known = np.unique(label[np.isfinite(label)])
        if len(known) == 2 and (known % 1 == 0).all() and not _is_binary(known):
            no, yes = known.astype(int)
            raise ValueError(
                f"Label {name!r} of two values must be 0 and 1. Received: {no} and "
                f"{yes}; give it as by: columns[{name!r}] == {yes}."
            )
    others = {n: c for n, c in columns.items() if n not in labels and n not in ignore}
    asked = {*categorical, *numeric}
    spaces = _spaces(of_labels, others)
    tasks = [_task(name, label, spaces) for name, label in of_labels.items()]
    binary = {t.name: of_labels[t.name] for t in tasks if t.kind == "binary"}
    declared, lists, left_out = {}, {}, []
    for name, column in others.items():
        if name in spaces.values():
            continue
        found = _feature(name, column, name in categorical, name in numeric)
        if isinstance(found, Categorical | Numeric) and name not in asked:
            found = _leak(column, binary) or found
            if after := _exposed(name, column, of_labels):
                found = f"known only later: {after!r} needs it"
            elif _label_names.is_action(name) and _of_two_numbers(column):
                found = "called like an action, known only later"
            elif _is_dwell(name, column, others):
                found = "called like a time that was spent, known only later"
        if isinstance(found, list):
            lists[name] = found
        elif isinstance(found, str):
            left_out.append(f"{name!r} ({found})")
        else:
            declared[name] = found
    for name, rows in lists.items():
        found = _sequence(name, rows, declared.values()) or _multivalued(name, rows)
        if isinstance(found, str):
            left_out.append(f"{name!r} ({found})")
        else:
            declared[name] = found
    if not declared:
        raise ValueError(
            "A model needs features. Received: none; left out: "
            f"{', '.join(left_out) or 'none'}."
        )
    if left_out:
        warnings.warn(f"No features: {', '.join(left_out)}.", stacklevel=2)
    return [declared[name] for name in columns if name in declared], tasks


def _spaces(labels, others) -> dict[str, str]:
    """Returns {label: the column or label that says where it is known}."""
    spaces = {}
    for name, label in labels.items():
        if np.isfinite(label).all():
            continue
        for other, column in (labels | others).items():
            if says_where_known(inputs.values_of(column), label):
                spaces[name] = other
                break
    for name in labels:
        if name not in spaces and (earlier := _earlier(name, labels)):
            spaces[name] = earlier
    return spaces


def _earlier(name, labels) -> str | None:
    """Returns the action without which a number is 0, or a stage of a funnel never 1.

    Other actions, such as likes, are learnt from all rows, for a ranking asks for them
    before anything is clicked.
    """
    label = labels[name]
    others = [n for n, v in labels.items() if n != name and _is_binary(v)]
    if not _is_binary(label):
        others = [n for n in others if follows(label, labels[n])]
        return min(others, key=lambda n: np.nanmean(labels[n]), default=None)
    place, ones = _label_names.stage(name), label == 1
    if place is None or not ones.any():
        return None
    found = [
        (stage, -np.nanmean(labels[n]), n)
        for n in others
        if (stage := _label_names.stage(n)) is not None and stage < place
        if (labels[n][ones] == 1).all() and labels[n].sum() > label.sum()
    ]
    return max(found)[-1] if found else None


def _is_binary(label) -> bool:
    return bool(np.isin(label[np.isfinite(label)], (0, 1)).all())


def _exposed(name, column, labels) -> str | None:
    """Returns the label that is never 1 without a column called like a play."""
    values = inputs.values_of(column)
    if not (_label_names.is_exposure(name) and is_flag(values)):
        return None
    shown = values.astype("float64")
    return next((n for n, label in labels.items() if follows(label, shown)), None)


def _of_two_numbers(column) -> bool:
    """Returns whether a column holds two numbers, such as 0 and 1."""
    values = inputs.values_of(column)
    if values.dtype.kind not in "biuf":
        return False
    return len(np.unique(values[np.isfinite(values)])) == 2


def _is_dwell(name, column, columns) -> bool:
    """Returns whether it is a time that was spent, and not an item's own length."""
    values = inputs.values_of(column)
    if not _label_names.is_dwell(name) or values.dtype.kind not in "iuf":
        return False
    known = values[np.isfinite(values)]
    if len(np.unique(known)) <= 2 or known.min() < 0:
        return False
    items = [inputs.values_of(c) for n, c in columns.items() if _label_names.is_item(n)]
    return not any(v.ndim == 1 and _is_function_of(values, v) for v in items)


def _is_function_of(values, keys) -> bool:
    """Returns whether there is one value for each key, and keys come again."""
    keys, found = (
        np.unique(v.astype(str), return_inverse=True)[1] for v in (keys, values)
    )
    distinct = keys.max() + 1
    if distinct > len(keys) / 1.5:
        return False
    pairs = np.unique(np.stack([keys, found]), axis=1)
    return pairs.shape[1] <= 1.001 * distinct


def _task(name, label, spaces) -> Task:
    known = label[np.isfinite(label)]
    space = spaces.get(name)
    if _is_binary(label):
        return Task(name, space=space)
    # `python -m pipeline init` does the same, and never waits for TensorFlow.
    loss, errors = ("log_mse", np.log1p(known)) if known.min() >= 0 else ("mse", known)
    error = float(np.mean(errors**2))  # of an untrained model
    weight = float(f"{1 / error:.1g}") if error > 2 else 1.0
    return Task(name, kind="regression", space=space, loss=loss, weight=weight)


def _leak(column, labels) -> str | None:
    """Returns which binary label a column tells, and how."""
    values = inputs.values_of(column)
    for name, label in labels.items():
        if how := leak(values, label):
            return how.format(repr(name))
    return None


def _feature(name, column, is_categorical, is_numeric):
    """Returns the feature of a column; its lists; or why it is neither."""
    if not _errors.is_feature_name(name):
        return (
            "a name that no feature may have: rename it to letters, digits, '_', '-' "
            "and '.', or ignore it"
        )
    values = inputs.values_of(column)
    objects = values if values.dtype.kind == "O" else ()
    if any(isinstance(value, Mapping) for value in objects):
        return "a map in each row"
    if values.ndim > 1 or any(map(_is_list, objects)):
        return _vector(name, values) or list(values)
    if values.dtype.kind in "mM" or any(hasattr(value, "year") for value in objects):
        return "a time"
    texts = values.dtype.kind == "O"
    if not texts and values.dtype.kind not in "biuf":
        return f"of type {values.dtype.name}"
    if texts and not all(isinstance(v, str | bytes | None) for v in values):
        return "neither texts nor numbers"
    is_known = [bool(v) for v in values] if texts else np.isfinite(values)
    known = values[is_known]
    found, counts = np.unique(known.astype(str) if texts else known, return_counts=True)
    if len(found) < 2:
        return "of one value"
    if texts and not is_categorical and all(map(_MARKED.fullmatch, found)):
        return f"numbers with a sign, such as {str(found[0])!r}: give the numbers alone"
    whole = texts or (found == np.floor(found)).all()
    if is_numeric or (not is_categorical and (not whole or _is_amount(found, counts))):
        if texts:
            raise ValueError(f"numeric column {name!r} must hold numbers, not texts.")
        return Numeric(name, boundaries=quantile_boundaries(known))
    if not whole:
        raise ValueError(
            f"categorical column {name!r} must hold whole numbers or texts. Received: "
            "fractions."
        )
    if len(known) >= 100 and len(found) > 0.95 * len(known) and not is_categorical:
        return "nearly every row has a value of its own"
    return _categorical(name, found if texts else found.astype("int64"), counts)


def _vector(name, rows) -> Vector | None:
    """Returns the feature of lists of equally many fractions."""
    known = [row for row in rows if _is_list(row) and len(row)]
    dims = {len(row) for row in known}
    numbers = inputs.values_of([value for row in known for value in row])
    if len(dims) != 1 or dims == {1} or numbers.dtype.kind != "f":
        return None
    whole = numbers[np.isfinite(numbers)] % 1 == 0
    return None if whole.all() else Vector(name, dim=dims.pop())


def _is_list(value) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _is_amount(found, counts) -> bool:
    """Whether whole numbers are amounts: 0 most often, or some below; ids are not."""
    if found.dtype.kind == "U" or len(found) <= _FEW:
        return False
    most_often = found[counts == counts.max()]
    return bool((most_often == [0]).all() or found.min() < 0)


def _categorical(name, found, counts) -> Categorical:
    order = np.argsort(-counts, kind="stable")
    vocabulary = found[order[:_WORDS]].tolist()
    dim = 4 if len(found) <= 10 else 8 if len(found) <= 1000 else 16
    shared = _SHARED_ROWS if len(found) > _WORDS else 0
    return Categorical(
        name, vocabulary=vocabulary, oov_buckets=shared, embedding_dim=dim
    )


def _sequence(name, rows, features) -> Sequence | None:
    """Returns a sequence of the categorical feature that has most of the items."""
    items = {item for row in rows if _is_list(row) for item in row}
    length = max((len(row) for row in rows if _is_list(row)), default=0)
    best, of = 0.0, None
    for feature in features:
        if isinstance(feature, Categorical) and items:
            share = len(items & set(feature.vocabulary)) / len(items)
            if share > max(best, 0.5):
                best, of = share, feature
    return of and Sequence(name, of=of, max_length=min(length, _ITEMS))


def _multivalued(name, rows) -> Multivalued | str:
    """Returns the feature of lists whose items no other column has; or why none."""
    items = [item for row in rows if _is_list(row) for item in row]
    values = inputs.values_of(items)
    texts = values.dtype.kind == "O"
    if not items or values.ndim > 1 or (texts and not all(map(_is_text, values))):
        return "lists of neither texts nor numbers"
    if not texts and (values.dtype.kind not in "biuf" or (values % 1 != 0).any()):
        return "lists of fractions, not of one length"
    if texts:
        values = np.array([value for value in values if value], str)
    values = values if texts else values.astype("int64")
    single = _categorical(name, *np.unique(values, return_counts=True))
    length = max(len(row) for row in rows if _is_list(row))
    return Multivalued(**vars(single), max_length=min(length, _ITEMS))


def _is_text(value) -> bool:
    return isinstance(value, str | bytes)
