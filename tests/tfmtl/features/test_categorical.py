"""A categorical feature: its vocabulary and its buckets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Categorical, Sequence
from tfmtl.features import check_features
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.table_rows import rows_of_table

WORDS = Categorical("word", vocabulary=["b", "a", "é"], embedding_dim=2)


@pytest.mark.parametrize(
    ("feature", "values", "rows"),
    [
        (WORDS, ["a", "b", "é", "", "c", "A"], [2, 1, 3, 0, 0, 0]),
        (
            Categorical("n", vocabulary=[7, -(2**40), 0]),
            [0, 7, -(2**40), 1],
            [3, 1, 2, 0],
        ),
        (Categorical("n", vocabulary=np.array([3, 9])), [9.0, np.nan, 3.0], [2, 0, 1]),
    ],
)
def test_a_vocabulary_names_rows_by_their_place(feature, values, rows):
    np.testing.assert_array_equal(rows_of_table(tf.constant(values), feature), rows)
    in_graph = tf.function(lambda x: rows_of_table(x, feature))
    np.testing.assert_array_equal(in_graph(tf.constant(values)), rows)
    np.testing.assert_array_equal(rows_of_table(tf.constant([values]), feature), [rows])


def test_words_outside_share_buckets_but_not_with_missing_ones():
    feature = Categorical("word", vocabulary=["a", "b"], oov_buckets=50)
    others = [f"other {i}" for i in range(200)]
    rows = rows_of_table(tf.constant(["", "a", "b", *others]), feature).numpy()
    assert list(rows[:3]) == [0, 1, 2]
    assert rows[3:].min() >= 3 and rows[3:].max() < feature.table_size == 53
    assert len(set(rows[3:])) > 40


def test_sequences_share_a_vocabulary_of_words():
    layer = FeatureEmbedding([WORDS, Sequence("before", of=WORDS, max_length=2)])
    before = tf.constant([["b", "q"], ["", ""]])
    out = layer({"word": tf.constant(["a", "b"]), "before": before})
    table = layer.table("word")
    np.testing.assert_allclose(out["word"], table[[2, 1]])
    np.testing.assert_allclose(out["before"], [table[1], [0, 0]])


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "list of strings"),
        (["a", ""], "none of them empty"),
        (["a", 1], "Received: .*'int', 'str'"),
        ([1.5], "float"),
        ("words", "Received: .*str"),
        (["a", "b", "a"], "3 values, 2 different"),
    ],
)
def test_a_vocabulary_must_be_a_list_of_different_values(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        Categorical("word", vocabulary=vocabulary)


def test_a_vocabulary_belongs_to_the_declaration():
    with pytest.raises(ValueError, match="exactly one.*'vocabulary_size', 'num_b"):
        Categorical("word", vocabulary=["a"], num_buckets=9)
    with pytest.raises(ValueError, match="follows from its vocabulary: 2"):
        Categorical("word", vocabulary=["a"], vocabulary_size=9)
    with pytest.raises(ValueError, match="dtype of 'word', 'string'"):
        check_features([WORDS, Sequence("before", of="word", max_length=2)])
    config = keras.saving.serialize_keras_object(WORDS)
    assert keras.saving.deserialize_keras_object(config) == WORDS


def test_a_model_of_words_is_saved_served_and_not_compiled(tmp_path):
    features = [WORDS, Sequence("before", of=WORDS, max_length=2)]
    task = tfmtl.Task("click", metrics=("auc/word", "gauc:word"), tower=())
    model = tfmtl.models.get("specific_top")(features, [task], domain="word")
    model.compile(run_eagerly=True)
    x = {
        "word": np.array(["a", "b", "é", "?"] * 4),
        "before": np.array([["b", ""], ["", ""], ["a", "?"], ["a", "b"]] * 4),
    }
    history = model.fit(x, {"click": np.arange(16) % 3 == 0}, verbose=0).history
    assert np.isfinite(history["click_gauc"])
    expected = model.predict(x, verbose=0)["click"]
    assert len(np.unique(expected)) == 4

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0)["click"], expected)

    tfmtl.export(model, tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    inputs = {name: tf.constant(values) for name, values in x.items()}
    np.testing.assert_allclose(served(**inputs)["click"], expected, rtol=1e-6)

    report = model.gate_health(x)
    assert report["gates"] == {}
    with pytest.raises(ValueError, match="XLA cannot read strings.*'word', 'before'"):
        model.compile(jit_compile=True)
