"""An id is the same id, whatever the type of the array that holds it."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfmtl
from tfmtl.ids import as_integers
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.table_rows import rows_of_table

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
FEATURES = [  # tables whose sizes are beyond int8, and not powers of 2
    tfmtl.Categorical("known", vocabulary_size=300, embedding_dim=2),
    tfmtl.Categorical("word", vocabulary_size=300, oov_buckets=7, embedding_dim=2),
    tfmtl.Categorical("bucket", num_buckets=1000, embedding_dim=2),
    tfmtl.Categorical("hashed", num_buckets=1000, num_hashes=2, embedding_dim=2),
]
SEQUENCES = [
    tfmtl.Sequence(f"{f.name}_before", of=f.name, max_length=2) for f in FEATURES
]
RARE = tfmtl.Categorical("rare", capacity=16, min_score=1.0, embedding_dim=2)


@st.composite
def typed_ids(draw):
    """Draws ids, and the type of an array that holds them exactly."""
    dtype = draw(st.sampled_from([*INTEGERS, *FLOATS, "bool"]))
    if dtype == "bool":
        least, most = 0, 1
    elif dtype in FLOATS:
        most = 2 ** FLOATS[dtype] - 1
        least = -most
    else:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    sizes = [i for i in (0, 1, 127, 128, 299, 300, 999, 1000) if i <= most]
    ids = st.sampled_from([least, most, *sizes]) | st.integers(least, most)
    return draw(st.lists(ids, min_size=2, max_size=8)), dtype


@settings(max_examples=200)
@given(typed_ids())
def test_every_type_has_the_rows_of_int64(drawn):
    ids, dtype = drawn
    # Of uint64, the same 64 bits: those of `pandas.util.hash_array`, say.
    wide = np.array([(i + 2**63) % 2**64 - 2**63 for i in ids])
    if dtype == "bool":
        typed = tf.constant(ids) == 1
    else:
        typed = tf.constant(ids, dtype)
    np.testing.assert_array_equal(as_integers(typed, "ids"), wide)
    for feature in FEATURES:
        for which in range(feature.num_hashes):
            np.testing.assert_array_equal(
                rows_of_table(typed, feature, which),
                rows_of_table(wide, feature, which),
            )


def _inputs(dtype):
    ids = np.array([0, 1, 2, 40, 100, 127, 0, 3])
    inputs = {feature.name: ids for feature in (*FEATURES, RARE)}
    inputs |= {s.name: np.stack([ids, ids[::-1]], axis=1) for s in SEQUENCES}
    return {name: tf.cast(array, dtype) for name, array in inputs.items()}


def test_every_type_is_looked_up_and_pooled_like_int64():
    layer = FeatureEmbedding([*FEATURES, RARE, *SEQUENCES])
    layer(_inputs("int64"), training=True)  # the ids of `rare` are admitted
    layer.set_table("rare", np.random.default_rng(0).normal(size=(17, 2)))
    assert len(np.unique(layer(_inputs("int64"))["rare"], axis=0)) > 1
    expected = layer(_inputs("int64"))
    for dtype in (*INTEGERS, *FLOATS):
        for name, vectors in layer(_inputs(dtype)).items():
            np.testing.assert_array_equal(vectors, expected[name], f"{dtype} {name}")


def test_training_does_not_depend_on_the_types():
    """A feature of each type in one model, and all in int64 in the other."""
    types = [*INTEGERS, "float16", "float32", "float64"]
    rng = np.random.default_rng(0)
    ids = {dtype: rng.integers(0, 120, 96) for dtype in types}
    ids["float64"][ids["float64"] > 0] += 2**40  # what float32 would not hold
    label = {"click": ((ids["int8"] + ids["float64"]) % 2).astype("float32")}
    task = tfmtl.Task("click", metrics=("auc/int8", "gauc:uint8"), tower=())
    results = []
    for typed in (False, True):
        keras.utils.set_random_seed(0)
        model = tfmtl.models.get("specific_top")(
            [tfmtl.Categorical(name, num_buckets=130) for name in types],
            [task],
            domain="int8",
            units=(),
        )
        model.compile(run_eagerly=True)
        data = {name: a.astype(name) if typed else a for name, a in ids.items()}
        history = model.fit(
            data, label, shuffle=False, verbose=0, validation_data=(data, label)
        ).history
        results.append(
            {
                **{name: values[0] for name, values in history.items()},
                **model.evaluate(data, label, verbose=0, return_dict=True),
                "predictions": model.predict(data, verbose=0)["click"],
            }
        )
    assert np.isfinite(results[0]["click_gauc"])
    assert len(np.unique(results[0]["predictions"])) > 90
    for name, value in results[0].items():
        np.testing.assert_array_equal(results[1][name], value, name)


def test_a_gate_report_does_not_depend_on_the_type_of_the_domain():
    tab = tfmtl.Categorical("tab", vocabulary_size=200)
    model = tfmtl.models.get("mmoe")([tab], [tfmtl.Task("a")], expert_units=(4,))
    for dtype in ("int8", "uint64", "float64"):
        inputs = {"tab": np.array([5, 120, 5], dtype)}
        (gate,) = model.gate_report(inputs, domain="tab").values()
        assert {tab: part["rows"] for tab, part in gate["domains"].items()} == {
            5: 2,
            120: 1,
        }


def _model():
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Categorical("user", num_buckets=1000)], [tfmtl.Task("a")]
    )
    model.compile()
    return model


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([1, 2**24 + 1], "float32"), r"below 2\*\*24.*'user'.* 16777216.0\.$"),
        (np.array([1, -(2.0**53)]), r"float64.*below 2\*\*53.*'user' as int64"),
        (np.array([1, 2.5]), r"whole numbers.*Received: 2.5\.$"),
        (np.array([1, np.inf]), r"whole numbers.*Received: inf\.$"),
    ],
)
def test_floats_that_are_no_ids_are_refused(ids, message):
    model, inputs, labels = _model(), {"user": ids}, np.ones(2)
    good = {"user": np.array([1, 2])}
    for run in (
        lambda: model.fit(inputs, labels, verbose=0),
        lambda: model.fit(good, labels, validation_data=(inputs, labels), verbose=0),
        lambda: model.evaluate(inputs, labels, verbose=0),
        lambda: model.predict(inputs, verbose=0),
        lambda: as_integers(ids, "user"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            run()
        assert "\n" not in str(error.value)


def test_a_dataset_of_floats_that_are_no_ids_is_refused():
    ids = tf.data.Dataset.from_tensor_slices({"user": tf.constant([1.0, 2.0**24])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="as int64.*16777216"):
        _model().predict(ids.batch(2), verbose=0)


def test_a_compiled_graph_takes_them_for_missing():
    ids = tf.constant([3.0, 2.0**24, 2.5, np.inf, -7.0])
    compiled = tf.function(lambda ids: as_integers(ids, "a"), jit_compile=True)
    np.testing.assert_array_equal(compiled(ids), [3, 0, 0, 0, -7])


def test_a_gap_in_a_column_of_pandas_is_id_0():
    model = _model()
    table = pd.DataFrame({"user": [2**40 + 1, None]})
    found = model.predict(dict(table), verbose=0)
    wanted = model.predict({"user": np.array([2**40 + 1, 0])}, verbose=0)
    np.testing.assert_array_equal(found["a"], wanted["a"])


def test_mixed_precision_reads_ids_as_they_are():
    ids = tf.constant([1.0, 2049.0, 4097.0])  # float16 has none of the last two
    item = tfmtl.Categorical("item", num_buckets=5000, embedding_dim=2)
    layer = FeatureEmbedding([item], dtype="mixed_float16")
    expected = layer({"item": tf.cast(ids, "int64")})["item"]
    np.testing.assert_array_equal(layer({"item": ids})["item"], expected)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _model()
        found = model({"user": ids})["a"], model({"user": tf.cast(ids, "int64")})["a"]
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(*found)


def test_what_is_masked_is_missing():
    rng = np.random.default_rng(0)
    ids, x = rng.integers(1, 9, 64), rng.normal(size=64).astype("float32")
    click, mask = (rng.random(64) < 0.5).astype("int64"), np.arange(64) % 4 == 0
    losses = []
    for masked in (True, False):
        keras.utils.set_random_seed(0)
        model = tfmtl.models.get("shared_bottom")(
            features=[tfmtl.Categorical("id", vocabulary_size=9), tfmtl.Numeric("x")],
            tasks=[tfmtl.Task("click")],
        )
        model.compile()
        if masked:
            inputs = {n: np.ma.array(v, mask=mask) for n, v in (("id", ids), ("x", x))}
            labels = {"click": np.ma.array(click, mask=mask[::-1])}
            weight = np.ma.array(np.ones(64), mask=np.roll(mask, 1))
        else:
            inputs = {"id": np.where(mask, 0, ids), "x": np.where(mask, np.nan, x)}
            labels = {"click": np.where(mask[::-1], np.nan, click)}
            weight = np.where(np.roll(mask, 1), 0.0, 1.0)
        history = model.fit(inputs, labels, sample_weight=weight, shuffle=False)
        losses.append(history.history["loss"])
        losses.append(model.predict(inputs)["click"].tolist())
    assert losses[:2] == losses[2:]
