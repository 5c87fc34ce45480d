"""What `fit`, `evaluate` and `predict` take, and how they refuse what they do not."""

import warnings
from decimal import Decimal

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from quick_model import quick_model

from tfmtl import Categorical, Numeric, Sequence, Task

ROWS = 12
USER = Categorical("user", vocabulary=["a", "b", "c"], embedding_dim=4)
FEATURES = [
    USER,
    Categorical("item", vocabulary_size=50, embedding_dim=4),
    Numeric("price"),
    Sequence("seen", of="item", max_length=3),
    Sequence("friends", of=USER, max_length=2),
]
TASKS = [Task("click", tower=()), Task("buy", label="bought", tower=())]
TABLE = pd.DataFrame(
    {
        "user": ["a", "b", "z", None] * 3,
        "item": pd.array([1, None, 49, 7] * 3, dtype="Int64"),
        "price": [0.5, None, -1.0, 2.0] * 3,
        "seen": [[1, 2], [], [3, 4, 5, 6], None] * 3,
        "friends": [["b"], ["a", "q"], [], ["c", "b", "a"]] * 3,
        "note": ["not a feature"] * ROWS,
        "click": [True, False, True, False] * 3,
        "bought": [1, None, 0, 0] * 3,
    }
)
ARRAYS = {
    "user": np.array(["a", "b", "z", ""] * 3),
    "item": np.array([1, 0, 49, 7] * 3),
    "price": np.array([0.5, np.nan, -1.0, 2.0] * 3, "float32"),
    "seen": np.array([[1, 2, 0], [0, 0, 0], [4, 5, 6], [0, 0, 0]] * 3),
    "friends": np.array([["b", ""], ["a", "q"], ["", ""], ["b", "a"]] * 3),
}
LABELS = {
    "click": np.array([1.0, 0, 1, 0] * 3),
    "bought": np.array([1, np.nan, 0, 0] * 3),
}


def _model(features=FEATURES, tasks=TASKS):
    keras.utils.set_random_seed(0)
    model = quick_model("shared_bottom", features, tasks, ARRAYS, units=(8,))
    model.compile("sgd", run_eagerly=True)
    return model


def _learnt(x, y=None, **given):
    """The weights after an epoch, the loss and the predictions on the same rows."""
    model = _model()
    model.fit(x, y, shuffle=False, verbose=0, **given)
    loss = model.evaluate(x, y, verbose=0)[0]
    predictions = model.predict(x, verbose=0)
    return [*model.get_weights(), loss, *predictions.values()]


@pytest.fixture(scope="module")
def expected():
    return _learnt(ARRAYS, LABELS)


def _polars():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return polars.DataFrame({name: list(c) for name, c in _lists().items()})


def _lists():
    columns = {name: TABLE[name].astype(object).tolist() for name in TABLE}
    return {
        name: [None if v is pd.NA or v != v else v for v in column]
        for name, column in columns.items()
    }


@pytest.mark.parametrize(
    "given",
    [
        lambda: TABLE,
        lambda: pa.Table.from_pandas(TABLE),
        _polars,
        lambda: dict(TABLE),
        _lists,
        lambda: (
            {n: tf.constant(a) for n, a in ARRAYS.items()}
            | {"item": tf.constant([1, np.nan, 49, 7] * 3, tf.float64)}
            | {"seen": tf.ragged.constant([[1, 2], [], [3, 4, 5, 6], []] * 3)}
            | {n: tf.constant(a, tf.float32) for n, a in LABELS.items()}
        ),
        lambda: (
            ARRAYS
            | LABELS
            | {"item": np.ma.array([1, 9, 49, 7] * 3, mask=[0, 1, 0, 0] * 3)}
            | {"price": np.ma.array([0.5, 9, -1, 2] * 3, mask=[0, 1, 0, 0] * 3)}
        ),
        lambda: TABLE.assign(
            item=[Decimal(1), None, Decimal(49), Decimal("7.0")] * 3,
            price=[Decimal("0.5"), Decimal("NaN"), Decimal(-1), Decimal(2)] * 3,
            click=pd.arrays.SparseArray([1, 0, 1, 0] * 3),
        ),
    ],
    ids=["pandas", "arrow", "polars", "series", "lists", "tensors", "masked", "sql"],
)
def test_every_kind_of_column_is_learnt_like_arrays(given, expected):
    for found, wanted in zip(_learnt(given()), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_labels_and_validation_may_be_tables(expected):
    model = _model()
    labels = TABLE[["click", "bought"]]
    for validation in (TABLE, (TABLE, labels)):
        history = model.fit(
            TABLE, labels, validation_data=validation, verbose=0, shuffle=False
        ).history
    loss = model.evaluate(ARRAYS, LABELS, verbose=0)[0]
    assert history["val_loss"] == [pytest.approx(loss)]


def test_a_batch_may_be_a_table():
    found = []
    for x, y in ((TABLE, None), (ARRAYS, LABELS)):
        model = _model()
        found.append(model.train_on_batch(x, y))
        found[-1] += model.test_on_batch(x=x, y=y)
        found[-1].append(model.predict_on_batch(x)["click"])
    for batch, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(batch, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"y": {"click": np.ones(5), "bought": np.ones(5)}}, "5 of 'label click'"),
        ({"sample_weight": np.ones(7)}, "7 of 'weight'"),
        ({"sample_weight": {"click": np.ones(7)}}, "7 of 'weight click'"),
    ],
)
def test_labels_and_weights_have_as_many_rows(wrong, message):
    rule = f"All columns must have equally many rows. Received: 12 of .*, {message}"
    with pytest.raises(ValueError, match=rule):
        _model().fit(**{"x": ARRAYS, "y": LABELS, "verbose": 0, **wrong})


def test_labels_in_another_order_are_told():
    model, other = _model(), TABLE[["click", "bought"]].iloc[::-1]
    with pytest.warns(UserWarning, match="paired by their order.*y.loc.x.index."):
        model.fit(TABLE, other, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(TABLE, other.sort_index(), verbose=0)


@pytest.mark.parametrize("missing", [[None] * ROWS, [np.nan] * ROWS])
def test_a_task_without_a_label_is_named(missing):
    with pytest.warns(UserWarning, match="No row has a label of task 'buy'.*'bought'"):
        _model().fit(ARRAYS, {**LABELS, "bought": missing}, verbose=0)


BAD = {
    "texts": (
        {"item": ["x"] * ROWS},
        "Categorical 'item' takes one id.*y=.*texts",
    ),
    "numbers for texts": ({"user": np.arange(ROWS)}, "takes the texts.*integers"),
    "text for a number": ({"price": ["9 EUR"] * ROWS}, "Numeric 'price' takes numbers"),
    "times": ({"price": np.zeros(ROWS, "M8[s]")}, "takes numbers.*times"),
    "dicts": ({"item": [{"a": 1}] * ROWS}, "one id a row.*dict"),
    "wide number": ({"price": np.ones((ROWS, 3))}, r"shape \(rows,\).*\(12, 3\)"),
    "wide id": ({"item": np.ones((ROWS, 3), int)}, r"one id a row.*\(12, 3\)"),
    "wide list": ({"seen": np.ones((ROWS, 4), int)}, r"\(rows, 3\).*\(12, 4\)"),
    "no lists": ({"seen": np.arange(ROWS)}, "a list of ids a row.*in row 0"),
    "rows": ({"price": np.ones(5)}, "equally many rows.*12 of 'user', 5 of 'price'"),
    "huge": ({"item": [2**70] * ROWS}, "one id a row.*int"),
    "label": ({"click": ["yes"] * ROWS}, "Label 'click' takes numbers"),
}


@pytest.mark.parametrize(("wrong", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_in_one_line(wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        _model().fit({**ARRAYS, **LABELS, **wrong}, verbose=0)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_a_missing_feature_is_named():
    inputs = {name: a for name, a in ARRAYS.items() if name != "price"}
    for run in (_model().predict, lambda x: _model().fit(x, LABELS)):
        with pytest.raises(ValueError, match="Feature 'price' is missing"):
            run({**inputs, "prices": ARRAYS["price"]})
    with pytest.raises(ValueError, match="dict {name: column}, a DataFrame"):
        _model().predict(np.ones((3, 5)))


def test_a_dataset_of_wide_columns_is_refused():
    wide = {**ARRAYS, "price": np.ones((ROWS, 3))}
    with pytest.raises(ValueError, match=r"'price' must have shape \(batch,\)"):
        _model().predict(tf.data.Dataset.from_tensor_slices(wide).batch(4))


def test_no_rows_give_no_predictions():
    empty = {name: array[:0] for name, array in ARRAYS.items()}
    found = _model().predict(empty)
    assert {name: array.shape for name, array in found.items()} == {
        "click": (0, 1),
        "buy": (0, 1),
    }


WEIGHT = np.linspace(0.1, 2, ROWS)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({"sample_weight": {"click": WEIGHT}}, (WEIGHT, 1)),
        ({"sample_weight": {"buy": list(WEIGHT)}}, (1, WEIGHT)),
        ({"sample_weight": {"bought": WEIGHT}}, (1, WEIGHT)),
        ({"sample_weight": pd.Series(WEIGHT)}, (WEIGHT, WEIGHT)),
        ({"class_weight": {"buy": {1: 5.0}}}, (1, np.array([5.0, 1, 1, 1] * 3))),
        (
            {"class_weight": {"click": {0: 2.0}}, "sample_weight": WEIGHT},
            (WEIGHT * np.array([1, 2] * 6), WEIGHT),
        ),
    ],
)
def test_weights_by_task_and_class(given, weights):
    explicit = {
        label: np.ones(ROWS) * weight
        for label, weight in zip(LABELS, weights, strict=True)
    }
    for found, wanted in zip(
        _learnt_weighted(given),
        _learnt_weighted({"sample_weight": explicit}),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def _learnt_weighted(given):
    model = _model()
    model.fit(ARRAYS, LABELS, shuffle=False, verbose=0, **given)
    return model.get_weights()


def test_weights_in_a_dataset_may_name_some_tasks():
    rows = (ARRAYS, LABELS, {"buy": WEIGHT})
    model = _model()
    model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(ROWS), verbose=0)
    wanted = _learnt_weighted({"sample_weight": {"buy": WEIGHT}})
    for found, expected in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weights_beside_the_column_of_a_space():
    tasks = [Task("click", tower=()), Task("bought", space="is_mobile", tower=())]
    model = _model(tasks=tasks)
    labels = {**LABELS, "is_mobile": np.array([1, 0] * 6)}
    model.fit(ARRAYS, labels, sample_weight={"click": WEIGHT}, verbose=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sample_weight": {"clik": WEIGHT}}, "Did you mean 'click'"),
        ({"class_weight": {"clik": {0: 1}}}, "Did you mean 'click'"),
        ({"class_weight": {0: 1, 1: 2}}, "must say whose"),
    ],
)
def test_weights_of_nobody_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        _model().fit(ARRAYS, LABELS, **given)
    with pytest.raises(ValueError, match="third element"):
        data = tf.data.Dataset.from_tensor_slices((ARRAYS, LABELS)).batch(4)
        _model().fit(data, class_weight={"click": {0: 1}})


def test_callbacks_know_which_direction_is_better():
    tasks = [
        Task("click", metrics=("auc", "auc/item", "logloss", "calibration")),
        Task("bought", kind="regression", metrics=("mae", "xauc")),
    ]
    model = _model(tasks=tasks)
    wanted = {
        "val_loss": "auto",  # Keras knows
        "val_click_auc": "max",
        "click_auc/item=7": "max",
        "val_click_logloss": "min",
        "val_click_loss": "min",
        "val_bought_mae": "min",
        "bought_xauc": "max",
    }
    callbacks = [keras.callbacks.EarlyStopping(monitor=name) for name in wanted]
    model.fit(
        ARRAYS, LABELS, validation_data=(ARRAYS, LABELS), callbacks=callbacks, verbose=0
    )
    assert [c.mode for c in callbacks] == list(wanted.values())
    assert callbacks[1].monitor_op is keras.ops.greater
    # 1 is the best calibration, neither more nor less.
    unknown = keras.callbacks.EarlyStopping(monitor="click_calibration")
    with pytest.raises(ValueError, match="mode="):
        model.fit(ARRAYS, LABELS, callbacks=unknown, verbose=0)


def test_keras_own_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tfmtl.export"):
        _model().export(tmp_path / "model")
