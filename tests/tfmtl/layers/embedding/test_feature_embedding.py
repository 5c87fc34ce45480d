"""Feature declarations, and the embedding that reads them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfmtl
from tfmtl import Categorical, Numeric, Sequence
from tfmtl.features import check_features
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.table_rows import rows_of_table


def test_embedding_looks_up_and_pools():
    features = [
        Categorical("item", vocabulary_size=5, embedding_dim=3),
        Categorical("user", num_buckets=4, embedding_dim=2),
        Numeric("x"),
        Sequence("seen", of="item", max_length=4),
        Sequence("bag", of="item", max_length=2, pooling="sum"),
    ]
    layer = FeatureEmbedding(features)
    out = layer(
        {
            "item": np.array([1, 5, -1, 4]),
            "user": np.array([[2], [-1], [2**40 + 3], [0]]),
            "x": np.array([0.5, 1, 2, 3], "float32"),
            "seen": np.array([[1, 2, 0, 0], [0, 0, 0, 0], [3, 3, 0, 4], [9, 2, 0, 0]]),
            "bag": np.array([[1, 2], [0, 0], [3, 0], [4, 4]]),
        }
    )
    items = layer.table("item")
    users = layer.table("user")
    # An id that the vocabulary does not have is unknown: 0.
    np.testing.assert_array_equal(out["item"], items[[1, 0, 0, 4]])
    # A bucket is the id modulo the buckets, of ids of any size and sign.
    np.testing.assert_array_equal(out["user"], users[[2, 3, 3, 0]])
    np.testing.assert_array_equal(out["x"], [[0.5], [1], [2], [3]])
    seen = [
        (items[1] + items[2]) / 2,
        0 * items[0],
        (2 * items[3] + items[4]) / 3,
        items[2],
    ]
    np.testing.assert_allclose(out["seen"], seen, rtol=1e-5, atol=1e-7)
    bag = [items[1] + items[2], 0 * items[0], items[3], 2 * items[4]]
    np.testing.assert_allclose(out["bag"], bag, rtol=1e-5, atol=1e-7)
    assert [*out] == ["item", "user", "x", "seen", "bag"]


def test_tables_start_different():
    layer = FeatureEmbedding([Categorical(n, vocabulary_size=9) for n in "ab"])
    layer({"a": np.zeros(1, int), "b": np.zeros(1, int)})
    assert np.abs(layer.table("a") - layer.table("b")).max() > 0


def test_tables_of_one_width_are_one_variable():
    features = [
        Categorical("a", vocabulary_size=3, embedding_dim=2),
        Categorical("b", vocabulary_size=4, embedding_dim=5),
        Categorical("c", num_buckets=6, embedding_dim=2),
        Sequence("s", of="c", max_length=3, pooling="sum"),
    ]
    layer = FeatureEmbedding(features)
    inputs = {
        "a": tf.constant([2, 2]),
        "b": tf.constant([1, 0]),
        "c": tf.constant([5, 6]),
        "s": tf.constant([[5, 5, 0], [1, 0, 0]]),
    }
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(v) for v in layer(inputs).values())
    assert {v.name: tuple(v.shape) for v in layer.trainable_variables} == {
        "table_2": (9, 2),
        "table_5": (4, 5),
    }
    variable, rows = layer.place("c")
    assert (variable.name, rows) == ("table_2", slice(3, 9))
    # One sparse gradient a variable, which names the touched rows alone.
    gradient, other = tape.gradient(loss, [v.value for v in layer.tables.values()])
    assert isinstance(gradient, tf.IndexedSlices)
    assert isinstance(other, tf.IndexedSlices)
    counts = np.bincount(gradient.indices, gradient.values[:, 0], minlength=9)
    np.testing.assert_array_equal(counts, [0, 0, 2, 1, 1, 0, 0, 0, 3])


def test_a_table_is_read_and_set_by_the_features_name():
    features = [Categorical(n, vocabulary_size=3, embedding_dim=2) for n in "ab"]
    layer = FeatureEmbedding(features)
    layer.build()
    a = layer.table("a")
    layer.set_table("b", np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(layer.table("a"), a)
    out = layer({"a": np.array([1]), "b": np.array([2])})
    np.testing.assert_array_equal(out["a"], a[[1]])
    np.testing.assert_array_equal(out["b"], [[4, 5]])
    with pytest.raises(ValueError, match="Did you mean 'a'"):
        layer.table("aa")


def test_each_table_is_initialised_as_if_alone():
    features = [
        Categorical("few", vocabulary_size=4, embedding_dim=64),
        Categorical("many", vocabulary_size=4000, embedding_dim=64),
    ]
    layer = FeatureEmbedding(features, initializer="glorot_uniform")
    layer.build()
    for name, rows in {"few": 4, "many": 4000}.items():
        limit = np.sqrt(6 / (rows + 64))
        assert 0.9 * limit < np.abs(layer.table(name)).max() <= limit


def test_a_lookup_does_not_read_the_whole_table():
    # A variable that was updated sparsely is copied when it is read.
    layer = FeatureEmbedding([Categorical("a", vocabulary_size=9)])
    layer.build()
    graph = tf.function(lambda a: layer({"a": a})).get_concrete_function(
        tf.TensorSpec([None], tf.int32)
    )
    kinds = [operation.type for operation in graph.graph.get_operations()]
    assert "ResourceGather" in kinds and "ReadVariableOp" not in kinds


def test_sequences_must_have_their_length():
    layer = FeatureEmbedding(
        [Categorical("item", vocabulary_size=5), Sequence("s", of="item", max_length=4)]
    )
    with pytest.raises(ValueError, match=r"shape \(batch, 4\). Received: \(2, 3\)"):
        layer({"item": np.zeros(2, int), "s": np.zeros((2, 3), int)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a"), "exactly one of `vocabulary`"),
        (lambda: Categorical("a", 3, 4), "vocabulary_size', 'num_buckets"),
        (lambda: Categorical("a", 0), "vocabulary_size of 'a' must be a positive"),
        (lambda: Categorical("a", 3, embedding_dim=0), "embedding_dim of 'a'"),
        (lambda: Categorical("a", capacity=9, min_score="2"), "min_score of 'a'"),
        (lambda: Categorical("a", capacity=9, decay="1"), "decay of 'a'"),
        (lambda: Categorical("a", 3, min_score=1.0), "min_score of 'a' needs capacity"),
        (lambda: Numeric(""), "must start with a letter"),
        (lambda: Sequence("a", of="b", max_length=0), "max_length of 'a'"),
        (
            lambda: Sequence("a", of="b", max_length=2, pooling="men"),
            "Did you mean 'mean'",
        ),
    ],
)
def test_bad_declarations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_that_do_not_go_together():
    item = Categorical("item", vocabulary_size=5)
    check_features([item, Sequence("s", of=item, max_length=4)])
    with pytest.raises(ValueError, match="at least one feature"):
        check_features([])
    with pytest.raises(ValueError, match="Received: 'item'"):
        check_features(["item"])
    with pytest.raises(ValueError, match="Received twice"):
        check_features([item, Numeric("item")])
    for one, other in [("a.b", "a_b"), ("a-b", "a.b"), ("A", "a")]:  # see export
        with pytest.raises(ValueError, match=f"apart. Received: '{one}' and '{other}'"):
            check_features([Numeric(one), Numeric(other)])
    with pytest.raises(ValueError, match="of='itme'. Did you mean 'item'"):
        check_features([item, Sequence("s", of="itme", max_length=4)])


def test_an_id_that_shares_the_row_of_id_0_is_pooled():
    layer = FeatureEmbedding(
        [
            Categorical("item", num_buckets=4, embedding_dim=2),
            Sequence("seen", of="item", max_length=2),
        ]
    )
    seen = layer({"item": np.zeros(1, int), "seen": np.array([[8, 0]])})["seen"]
    np.testing.assert_array_equal(seen, layer.table("item")[:1])


NUMBERS = [Numeric("x"), Numeric("y"), Categorical("a", 3, embedding_dim=2)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_numbers_that_are_not_finite_are_0(dtype, policy):
    x = np.array([1.5, np.nan, np.inf, -np.inf, -2], dtype)
    inputs = {"x": x, "y": x[::-1, None], "a": np.zeros(5, "int8")}
    out = FeatureEmbedding(NUMBERS, dtype=policy)(inputs)
    expected = np.array([[1.5], [0], [0], [0], [-2]])
    np.testing.assert_array_equal(ops.cast(out["x"], "float32"), expected)
    np.testing.assert_array_equal(ops.cast(out["y"], "float32"), expected[::-1])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("float32", [0, -1e6, 1]),
        ("mixed_float16", [0, -65504, 1]),
        ("float64", [1e300, -1e6, 1]),
    ],
)
def test_numbers_that_a_type_cannot_hold(policy, expected):
    """No policy makes inf of a number, nor NaN of it in the layers above."""
    out = FeatureEmbedding([Numeric("x")], dtype=policy)(
        {"x": tf.constant([1e300, -1e6, 1], tf.float64)}
    )
    np.testing.assert_allclose(out["x"][:, 0], expected)


def test_a_policy_makes_no_inf_on_the_way_into_a_model():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tfmtl.models.get("shared_bottom")([Numeric("x")], [tfmtl.Task("a")])
        found = model({"x": np.array([1e6, 65504], "float32")})["a"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64"])
def test_whole_numbers_are_numbers(dtype):
    x = np.array([0, 1, 1], dtype)
    out = FeatureEmbedding([Numeric("x")])({"x": x})["x"]
    np.testing.assert_array_equal(out, [[0], [1], [1]])


def test_an_embedding_is_exported(tmp_path):
    layer = FeatureEmbedding([Categorical("a", vocabulary_size=9, embedding_dim=2)])
    out = layer({"a": np.arange(3)})["a"]
    archive = keras.export.ExportArchive()
    archive.track(layer)
    specs = {"a": tf.TensorSpec([None], tf.int64, "a")}
    archive.add_endpoint("serve", lambda inputs: layer(inputs), [specs])
    archive.write_out(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_array_equal(served.serve({"a": np.arange(3)})["a"], out)


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
    model.compile()
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


@pytest.mark.parametrize("name", ["class", "from", "is", "None", "lambda", "self"])
def test_a_name_that_cannot_be_served_is_refused(name):
    for declare in (
        lambda: Numeric(name),
        lambda: Categorical(name, num_buckets=9),
        lambda: Sequence(name, of="item", max_length=2),
    ):
        with pytest.raises(ValueError, match=f"keyword.*{name!r}; call it '{name}_'"):
            declare()


def test_a_normalization_scales_the_number_and_its_absence_is_0():
    features = [Numeric("x", normalization=(30, 10)), Numeric("y")]
    x = np.array([30, 50, np.nan, np.inf], "float32")
    out = FeatureEmbedding(features)({"x": x, "y": x[:2].repeat(2)})
    np.testing.assert_allclose(out["x"], [[0], [2], [0], [0]])
    np.testing.assert_allclose(out["y"], [[30], [30], [50], [50]])


@pytest.mark.parametrize("given", [3, (1,), (1, 0), (1, -2), (np.nan, 1), ("a", "b")])
def test_a_normalization_is_a_mean_and_a_deviation(given):
    with pytest.raises(ValueError, match=r"of 'x' must be \(mean, std\)"):
        Numeric("x", normalization=given)


def test_boundaries_need_no_normalization():
    with pytest.raises(ValueError, match="boundaries or a normalization, not both"):
        Numeric("x", boundaries=(0, 1), normalization=(0, 1))


def test_a_normalization_is_saved_with_the_model(tmp_path):
    features = [Numeric("x", normalization=(30, 10))]
    model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("a")], units=(2,))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.features == features


def test_a_declaration_prints_what_was_given_and_not_a_whole_vocabulary():
    for declared in (
        tfmtl.Categorical("tab", vocabulary=("new", "hot")),
        tfmtl.Categorical("user", num_buckets=100, num_hashes=2, embedding_dim=8),
        tfmtl.Numeric("age", boundaries=(18.0, 65.0), embedding_dim=8),
        tfmtl.Sequence("seen", of="tab", max_length=3, dtype="string"),
        tfmtl.Task("like", space="click"),
        tfmtl.Task("n", kind="count", weight=2.0, tower=()),
    ):
        text = repr(declared)
        assert eval(text, vars(tfmtl)) == declared
        assert "None" not in text
    assert repr(tfmtl.Task("click", kind="binary", loss="bce")) == "Task('click')"
    ids = tfmtl.Categorical("id", vocabulary=[*range(5000)])
    assert repr(ids) == "Categorical('id', vocabulary=(0, 1, 2, ... 5,000 values))"
