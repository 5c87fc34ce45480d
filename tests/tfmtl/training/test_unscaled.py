"""Numbers that no network learns well from are told at the first step, once."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Numeric

ROWS = 64
RNG = np.random.default_rng(0)
RAW = RNG.lognormal(3.4, 0.5, ROWS).astype("float32")  # around 30
SCALED = ((RAW - RAW.mean()) / RAW.std()).astype("float32")
LABELS = {"click": (RAW > 30).astype("float32")}


PRICE = [Numeric("price")]


def _fit(x, features=PRICE, y=LABELS, run_eagerly=True, **options):
    """Trains for two epochs of four steps; returns the texts of warnings."""
    model = tfmtl.models.get("shared_bottom")(
        features, [tfmtl.Task("click", tower=())], units=(4,)
    )
    model.compile("sgd", run_eagerly=run_eagerly, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        model.fit(x, y, batch_size=16, verbose=0)  # the same model has been told
    # Keras 3.12 uses what NumPy 2 deprecates, in a graph.
    own = [w for w in caught if not issubclass(w.category, DeprecationWarning)]
    return [str(each.message) for each in own]


def _dataset():
    return tf.data.Dataset.from_tensor_slices(({"price": RAW}, LABELS)).batch(16)


@pytest.mark.parametrize(
    "given",
    [
        ({"price": RAW}, LABELS),
        (pd.DataFrame({"price": RAW, **LABELS}), None),
        (_dataset(), None),
    ],
    ids=["dict", "table", "dataset"],
)
def test_raw_numbers_are_told_once(given):
    (text,) = _fit(given[0], y=given[1])
    assert "'price' (median" in text and "normalization=(mean, std)" in text


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}])
def test_they_are_told_in_a_graph_too(options):
    assert len(_fit({"price": RAW}, run_eagerly=False, **options)) == 1


def test_they_are_told_where_gradients_are_balanced():
    assert len(_fit({"price": RAW}, loss_weighting="pcgrad")) == 1


def test_what_is_scaled_missing_or_no_number_is_not():
    rare = np.zeros(ROWS, "float32")
    rare[40] = 1e4  # one of 16 is beyond 10, and of all rows 2 %
    columns = {
        "scaled": SCALED,
        "rare": rare,
        "missing": np.full(ROWS, np.nan, "float32"),
        "cut": RAW,
        "normalized": RAW * 1e6,
        "item": np.arange(ROWS) + 900,
    }
    features = [
        *(Numeric(name) for name in ("scaled", "rare", "missing")),
        Numeric("cut", boundaries=tfmtl.quantile_boundaries(RAW, 4)),
        Numeric("normalized", normalization=(RAW.mean() * 1e6, RAW.std() * 1e6)),
        tfmtl.Categorical("item", vocabulary_size=1000),
    ]
    assert _fit(columns, features) == []


def test_of_many_columns_the_first_are_named():
    features = [Numeric(f"x{i}") for i in range(7)]
    (text,) = _fit({f.name: RAW for f in features}, features)
    assert "'x4'" in text and "'x5'" not in text and "and 2 more" in text


def test_a_training_that_goes_on_is_not_told_again():
    model = tfmtl.models.get("shared_bottom")(
        [Numeric("price")], [tfmtl.Task("click", tower=())], units=(4,)
    )
    model.compile(keras.optimizers.SGD(), run_eagerly=True)
    model.optimizer.iterations.assign(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit({"price": RAW}, LABELS, verbose=0)
