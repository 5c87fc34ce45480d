import json
import shutil

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.components.transform import graph as transform_graph
from pipeline.components.transform import tf_example, vocabulary
from pipeline.components.transform.vocabulary import Vocabulary
from pipeline.config.features import (
    CategoricalFeature,
    NumericFeature,
    NumericSequenceFeature,
    SequenceFeature,
    VocabularyConfig,
)
from pipeline.errors import PipelineError

ODD_VALUES = [
    b"plain",
    b"two\nlines",
    b"two\\nlines",
    b"\r",
    b"\r\n",
    b"\\",
    b" ",
    b"tab\tnul\0end",
    b"\xff\xfe\n",
    "ü".encode(),
]
QUANTILES = np.linspace(10, 20, 1001).tolist()
MOMENTS = {
    "age": {"count": 5, "mean": 3.0, "std": 2.0, "quantiles": QUANTILES},
    "seconds": {"count": 5, "mean": 3.0, "std": 2.0},
    "constant": {"count": 5, "mean": 7.0, "std": 0.0},
    "income": {"count": 5, "log1p_mean": 1.0, "log1p_std": 0.5},
    "as_is": {"count": 0},
    "height": {"count": 5, "quantiles": QUANTILES},
    "amount": {"count": 5, "quantiles": np.linspace(-1, 999, 1001).tolist()},
    "stay": {
        "count": 10,
        "mean": 2.0,
        "std": 4.0,
        "levels": [0.0, 2.0, 4.0, 6.0, 10.0],
        "level_counts": [6, 1, 1, 1, 1],
    },
}
FEATURES = [
    CategoricalFeature(kind="categorical", name="city", embedding_dim=4),
    CategoricalFeature(kind="categorical", name="user.id", hash_buckets=8),
    NumericFeature(kind="numeric", name="age"),
    NumericFeature(kind="numeric", name="constant"),
    NumericFeature(kind="numeric", name="income", scaling="log1p_zscore"),
    NumericFeature(kind="numeric", name="as_is", scaling="none"),
    NumericFeature(kind="numeric", name="height", buckets=4),
    NumericFeature(kind="numeric", name="stay", piecewise_linear=3),
    NumericFeature(kind="numeric", name="amount", buckets=3, bucketing="log"),
    SequenceFeature(kind="sequence", name="seen", of="city", max_length=2),
    SequenceFeature(kind="sequence", name="met", of="user.id", max_length=2),
    NumericSequenceFeature(
        kind="numeric_sequence", name="seconds", side_of="met", max_length=2
    ),
]
NAN, INF = np.nan, np.inf
RAW = {
    "city": [b"two\nlines", b"", b"new", b"plain"],
    "user.id": [b"17", b"", b"18", b"17"],
    "age": [5.0, NAN, INF, 3.0],
    "constant": [7.0, NAN, 8.0, 6.0],
    "income": [np.e - 1, NAN, -5.0, np.e**2 - 1],
    "as_is": [1.5, NAN, -2.0, 0.0],
    "height": [12.5, NAN, 9.0, 20.0],
    "amount": [8.9, NAN, 9.1, 5000.0],
    "stay": [0.0, NAN, INF, 6.0],
    "seen": [[b"\r", b"plain"], [b"", b""], [b"new", b""], [b"\\", b""]],
    "met": [[b"17", b""], [b"", b""], [b"18", b"17"], [b"", b""]],
    "seconds": [[b"5.0", b""], [b"1e0", b"long"], [b"inf", b"-1"], [b"", b""]],
}


def write_counts(folder, counts):
    """Writes a vocabulary as StatisticsGen does: shards, in any order."""
    folder.mkdir(parents=True)
    values = list(counts)
    for i in range(2):
        table = pa.table(
            {
                "value": pa.array(values[i::2], pa.binary()),
                "count": pa.array([counts[v] for v in values[i::2]], pa.int64()),
            }
        )
        pq.write_table(table, folder / f"{i}.parquet")


@pytest.fixture
def graph(tmp_path):
    statistics = tmp_path / "statistics"
    counts = {value: 1000 - i for i, value in enumerate(ODD_VALUES)}
    write_counts(statistics / "vocabulary" / "city", counts)
    (statistics / "moments.json").write_text(json.dumps(MOMENTS))
    return transform_graph.build(FEATURES, statistics, tmp_path)


def raw_tensors():
    specs = transform_graph.raw_specs(FEATURES)
    return {name: tf.constant(RAW[name], spec.dtype) for name, spec in specs.items()}


def check_transformed(got):
    names = ("city", "seen", "height", "amount")
    ids = {name: got[name].numpy().tolist() for name in names}
    assert ids["city"] == [2, 0, 0, 1]
    assert ids["seen"] == [[4, 1], [0, 0], [0, 0], [6, 0]]
    assert ids["height"] == [2, 0, 1, 4]  # 12.5 is the first edge: in bucket 2
    assert ids["amount"] == [1, 0, 2, 3]  # 1 + x is cut at 10 and 100
    seventeen, eighteen = (
        1 + tf.strings.to_hash_bucket_fast([b"17", b"18"], 7).numpy()
    ).tolist()
    assert got["user.id"].numpy().tolist() == [seventeen, 0, eighteen, seventeen]
    assert got["met"].numpy().tolist()[2] == [eighteen, seventeen]
    numbers = {
        "age": [1, 0, 0, 0],
        "constant": [0, 0, 1, -1],
        "income": [0, 0, -2, 2],
        "as_is": [1.5, 0, -2, 0],
        "stay": [-0.5, NAN, NAN, 1],
        "seconds": [[1, 0], [-1, 0], [0, -2], [0, 0]],
    }
    for name, expected in numbers.items():
        assert got[name].dtype == tf.float32
        np.testing.assert_allclose(got[name], expected, atol=1e-6, err_msg=name)


def test_graph_by_hand_and_what_a_model_is_told(graph):
    check_transformed(graph.transform(raw_tensors()))
    categorical = {"kind": "categorical"}
    assert graph.describe() == {
        "city": {**categorical, "size": 11},
        "user.id": {**categorical, "size": 8},
        "age": {"kind": "numeric"},
        "constant": {"kind": "numeric"},
        "income": {"kind": "numeric"},
        "as_is": {"kind": "numeric"},
        "height": {**categorical, "size": 5},
        "amount": {**categorical, "size": 4},
        # Of 0, 2, 6 and 10: 0 alone is a bin, and the others share two.
        "stay": {"kind": "numeric", "boundaries": [-0.5, 0.0, 1.0, 2.0]},
        "seen": {"kind": "sequence", "of": "city", "max_length": 2},
        "met": {"kind": "sequence", "of": "user.id", "max_length": 2},
        "seconds": {"kind": "numeric_sequence"},
    }


def test_tables_that_the_model_fills(tmp_path):
    def categorical(name, **options):
        return CategoricalFeature(kind="categorical", name=name, **options)

    shared = {"table": "place", "oov_buckets": 5}
    features = [
        categorical("home", **shared),
        categorical("work", **shared),
        categorical("user", hash_buckets=8, num_hashes=2),
        categorical("query", capacity=8),
        SequenceFeature(kind="sequence", name="queries", of="query", max_length=2),
    ]
    (tmp_path / "moments.json").write_text("{}")
    write_counts(tmp_path / "vocabulary" / "home", {b"a": 4, b"b": 3, b"": 9})
    write_counts(tmp_path / "vocabulary" / "work", {b"b": 2, b"c": 1})
    graph = transform_graph.build(features, tmp_path, tmp_path)
    assert (tmp_path / "place.txt").read_text() == "b\na\nc\n"  # 5, 4 and 1 times
    sizes = {n: d.get("size") for n, d in graph.describe().items()}
    assert sizes == {"home": 4, "work": 4, "user": 8, "query": 9, "queries": None}
    values = ["b", "c", "", "new"]
    got = graph.transform(
        {
            **{name: tf.constant(values) for name in ("home", "work", "user", "query")},
            "queries": tf.constant([["new", ""]] * 4),
        }
    )
    got = {name: ids.numpy().tolist() for name, ids in got.items()}
    hashed = tf.strings.to_hash_bucket_fast(values, 2**62).numpy().tolist()
    assert got["home"] == got["work"] == [1, 3, 0, 4 + hashed[3]]
    assert got["home"][3] > 2**40  # ids of their own, which the model makes rows of
    hashed = tf.strings.to_hash_bucket_fast(values, 2**62 - 1).numpy() + 1
    b, c, _, new = hashed.tolist()
    assert got["user"] == got["query"] == [b, c, 0, new]
    assert got["queries"] == [[new, 0]] * 4


def test_hash_is_farmhash64():
    # Fingerprint64 of FarmHash is fixed for all time; so ids are on any machine.
    feature = CategoricalFeature(kind="categorical", name="a", hash_buckets=1001)
    graph = transform_graph.TransformGraph([feature], {}, {})
    ids = graph.transform({"a": tf.constant(["hello", "", "17"])})["a"].numpy()
    assert ids.tolist() == [1 + 13009744463427800296 % 1000, 0, ids[2]]
    assert 1 <= ids[2] <= 1000


def test_numeric_without_values_is_refused(tmp_path):
    (tmp_path / "moments.json").write_text('{"age": {"count": 0}}')
    with pytest.raises(PipelineError, match="features.0: .*'age', which has none"):
        transform_graph.build(FEATURES[2:3], tmp_path, tmp_path)


def test_piecewise_linear_of_a_constant_is_refused(tmp_path):
    constant = {"count": 9, "mean": 3, "std": 0, "levels": [3], "level_counts": [9]}
    (tmp_path / "moments.json").write_text(json.dumps({"stay": constant}))
    (stay,) = (f for f in FEATURES if f.name == "stay")
    with pytest.raises(PipelineError, match="features.0: .*'stay': .* two distinct"):
        transform_graph.build([stay], tmp_path, tmp_path)


def test_vocabulary_without_values_is_refused(tmp_path):
    (tmp_path / "moments.json").write_text("{}")
    write_counts(tmp_path / "vocabulary" / "city", {b"rare": 2, b"": 9})
    limits = VocabularyConfig(min_count=3)
    feature = CategoricalFeature(kind="categorical", name="city", vocabulary=limits)
    with pytest.raises(PipelineError, match="features.0: .*3 times .*'city', which"):
        transform_graph.build([feature], tmp_path, tmp_path)


def test_vocabulary_order_and_limits(tmp_path):
    counts = {b"b": 5, b"a": 5, b"B": 5, b"rare": 1, b"": 99, b"top": 7, b"two": 2}
    write_counts(tmp_path / "counts", counts)

    def read(**limits):
        return vocabulary.read(
            [tmp_path / "counts"], VocabularyConfig(**limits)
        ).to_pylist()

    assert read() == [b"top", b"B", b"a", b"b", b"two", b"rare"]
    assert read(min_count=2) == [b"top", b"B", b"a", b"b", b"two"]
    assert read(min_count=2, max_size=3) == [b"top", b"B", b"a"]


def test_values_of_a_served_model_stay_behind_those_of_the_new_logs(tmp_path):
    """The new day's values have the first ids, and nobody who was known is lost."""
    write_counts(tmp_path / "vocabulary" / "city", {b"a": 1, b"b": 3})
    (tmp_path / "moments.json").write_text("{}")
    said = []

    def ids(served, **limits):
        feature = CategoricalFeature(
            kind="categorical", name="city", vocabulary=VocabularyConfig(**limits)
        )
        # A table of a file that another one has read is that one.
        assets = tmp_path / str(limits)
        assets.mkdir()
        graph = transform_graph.build(
            [feature], tmp_path, assets, served={"city": served}, say=said.append
        )
        values = tf.constant([b"b", b"a", b"old", b"older", b"unknown"])
        return graph.transform({"city": values})["city"].numpy().tolist()

    served = [b"old", b"a", b"older", rb"back\\slash"]
    assert ids(served) == [1, 2, 3, 4, 0]
    assert said == [
        "vocabulary of 'city': 2 values of these logs, 2 more of the model to start "
        "from; 1 of it are dropped"
    ]
    assert ids(served, max_size=3) == [1, 2, 3, 0, 0]
    assert ids(served, max_size=1) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("values", [ODD_VALUES, [b"a", b"a\\n", b"\\"]])
def test_vocabulary_of_any_bytes(tmp_path, values):
    made = Vocabulary(pa.array(values, pa.binary()), tmp_path / "a.txt")
    assert made.size == len(values) + 1
    unknown = [b"", b"new", b"a\n", b"plain\r", b"two\\\\nlines"]
    ids = made.lookup(tf.constant(values + unknown)).numpy().tolist()
    assert ids == [*range(1, len(values) + 1), *[0] * len(unknown)]


def test_export_with_a_model_loads_as_a_server_does(graph, tmp_path):
    folder = tmp_path / "transform_fn"
    graph.save(folder)
    for file in tmp_path.glob("*.txt"):
        file.unlink()  # the SavedModel has its own
    loaded = tf.saved_model.load(str(folder))
    raw = raw_tensors()
    check_transformed(loaded.transform(raw))

    city = keras.Input((), dtype="int64", name="city")
    age = keras.Input((), dtype="float32", name="age")
    embedded = keras.layers.Embedding(11, 4)(city)
    wide = keras.layers.Concatenate()([embedded, keras.layers.Reshape((1,))(age)])
    click = keras.layers.Dense(1, activation="sigmoid")(wide)
    model = keras.Model({"city": city, "age": age}, {"click": click})

    def predict(inputs):
        transformed = loaded.transform(inputs)
        return model({name: transformed[name] for name in ("city", "age")})

    expected = predict(raw)["click"].numpy()
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(loaded)
    specs = transform_graph.raw_specs(FEATURES)
    archive.add_endpoint("serving_default", predict, [specs])
    archive.write_out(str(tmp_path / "exported"), verbose=False)
    shutil.rmtree(folder)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.loader.load(
            session, ["serve"], str(tmp_path / "exported")
        )
        signature = meta.signature_def["serving_default"]
        assert set(signature.inputs) == set(RAW)
        feed = {signature.inputs[name].name: RAW[name] for name in RAW}
        got = session.run(signature.outputs["click"].name, feed)
    np.testing.assert_allclose(got, expected, rtol=1e-6)  # sums may differ in order
    assert len(set(expected.ravel().tolist())) == 3  # two rows have nothing known


@pytest.mark.parametrize("size", [1, 4, 10, 99])
def test_encoder_of_several_rows_a_record(size):
    columns = {
        "ids": np.arange(30).reshape(10, 3) * 1000,
        "x": np.linspace(0, 1, 10, dtype=np.float32),
    }
    records = list(tf_example.examples(columns, size))
    assert len(records) == -(-10 // size)
    found = {"ids": [], "x": []}
    for record in records:
        feature = tf.train.Example.FromString(record).features.feature
        found["ids"] += feature["ids"].int64_list.value
        found["x"] += feature["x"].float_list.value
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values.ravel())


def test_encoder_against_a_protobuf_parser():
    rng = np.random.default_rng(0)
    columns = {
        "zeros": np.zeros(50, np.int64),
        "wide": np.r_[rng.integers(0, 2**63 - 1, 48), 2**63 - 1, 0],
        **{f"to_{n}": rng.integers(0, n + 1, (50, 3)) for n in (127, 128, 16384)},
        "floats": rng.normal(size=(50, 70)).astype(np.float32),
        "ünïcode " * 20: np.r_[np.nan, np.inf, rng.normal(size=48)].astype(np.float32),
    }
    records = list(tf_example.examples(columns))
    assert len(records) == 50
    for row, record in enumerate(records):
        example = tf.train.Example.FromString(record)
        assert set(example.features.feature) == set(columns)
        for name, values in columns.items():
            kind = "float_list" if values.dtype == np.float32 else "int64_list"
            found = getattr(example.features.feature[name], kind).value
            np.testing.assert_array_equal(found, np.ravel(values[row]), err_msg=name)
    specs = {
        name: tf.io.FixedLenFeature(values.shape[1:], tf.as_dtype(values.dtype))
        for name, values in columns.items()
    }
    parsed = tf.io.parse_example(records, specs)  # has a parser of its own
    for name, values in columns.items():
        np.testing.assert_array_equal(parsed[name], values, err_msg=name)
