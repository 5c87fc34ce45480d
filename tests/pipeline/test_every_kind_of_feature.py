"""A raw row with every kind of feature, from logs of each format to served scores."""

import json

import first_stages
import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from conftest import raw_config

import serving
import tfmtl
from pipeline import config as configs
from pipeline.artifacts import examples, saved_model, schema
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.components.example_gen.component import example_gen
from pipeline.components.schema_gen import schema_gen
from pipeline.components.statistics_gen import statistics_gen
from pipeline.components.transform.component import transform
from pipeline.config import declarations
from pipeline.logs.values import casting
from serving.client import Client

FEATURES = [
    {"name": "user", "kind": "categorical", "embedding_dim": 2},
    {"name": "tab", "kind": "categorical", "hash_buckets": 20, "embedding_dim": 2},
    {"name": "price", "kind": "numeric"},
    {"name": "age", "kind": "numeric", "buckets": 3},
    {"name": "amount", "kind": "numeric", "piecewise_linear": 4},
    {"name": "score", "kind": "numeric", "autodis": 3, "embedding_dim": 2},
    {"name": "visits", "kind": "numeric", "buckets": 4, "bucketing": "log"},
    {
        **{"name": "seen", "kind": "sequence", "of": "user", "max_length": 3},
        "encoder": {"name": "sim", "category": "seen_tab", "items": 2, "units": 4},
    },
    {
        **{"name": "seen_tab", "kind": "sequence", "of": "tab", "max_length": 3},
        "side_of": "seen",
    },
    {
        **{"name": "seconds", "kind": "numeric_sequence", "max_length": 3},
        **{"side_of": "seen", "scaling": "log1p_zscore"},
    },
    {
        **{"name": "ages", "kind": "numeric_sequence", "max_length": 3},
        **{"side_of": "seen", "piecewise_linear": 4, "embedding_dim": 2},
    },
    {"name": "cover", "kind": "vector", "dim": 2, "embedding_dim": 3},
    {"name": "tags", "kind": "multivalued", "max_length": 3, "pooling": "max"},
    {"name": "topics", "kind": "multivalued", "weighted": True, "max_length": 3},
    {"name": "brands", "kind": "multivalued", "weights": "D1", "pooling": "sqrtn"},
    {"name": "rates", "kind": "lookup", "key": "tab", "scaling": "log1p"},
    {"name": "tab_age", "kind": "crossed", "of": ["tab", "age"], "hash_buckets": 30},
]
ROWS = 120


def _lists(rng, values, most):
    """A list a row, of none to `most` values; of some rows nothing at all."""
    found = [rng.choice(values, rng.integers(most + 1)).tolist() for _ in range(ROWS)]
    return [None if i % 9 == 4 else row for i, row in enumerate(found)]


def _rows():
    rng = np.random.default_rng(3)
    brands = _lists(rng, ["x", "y", "z"], 4)
    given = [row and [round(float(rng.random()), 3) for _ in row] for row in brands]
    topics = _lists(rng, ["a", "b", "c:d"], 5)
    seen = _lists(rng, ["u1", "u2", "u9"], 5)

    def beside(value):
        return [
            row and [value(i, j) for j in range(len(row))] for i, row in enumerate(seen)
        ]

    keys = [["new", "hot"][: i % 4] for i in range(ROWS)]
    return {
        "user": [f"u{i % 7}" if i % 11 else None for i in range(ROWS)],
        "tab": [("new", "hot", "")[i % 3] or None for i in range(ROWS)],
        "price": [None if i % 13 == 5 else i / 8 for i in range(ROWS)],
        "age": [None if i % 10 == 7 else float(i % 60) for i in range(ROWS)],
        "amount": [None if i % 6 == 1 else max(0.0, i - 60.0) for i in range(ROWS)],
        "score": [None if i % 7 == 2 else i / 8 for i in range(ROWS)],
        "visits": [None if i % 9 == 2 else float(i**2) for i in range(ROWS)],
        "seen": seen,
        "seen_tab": beside(lambda i, j: ("new", "hot")[(i + j) % 2]),
        "seconds": beside(lambda i, j: None if (i + j) % 5 == 4 else i / 4 + j),
        "ages": beside(lambda i, j: float(i * (j + 1) % 17)),
        "cover": [None if i % 8 == 3 else [i / 64, 1.0] for i in range(ROWS)],
        "tags": _lists(rng, ["t1", "t2", "t3"], 4),
        "topics": [
            row and [f"{topic}:{j / 4}" for j, topic in enumerate(row)]
            for row in topics
        ],
        "brands": brands,
        "D1": given,
        "rates": [[f"{k}:{i / 16}" for k in of] for i, of in enumerate(keys)],
        "click": [float(i % 3 == 0) for i in range(ROWS)],
    }


def _csv(path, columns):
    def text(value):
        if isinstance(value, list):
            return "|".join(map(str, value))
        return value

    pd.DataFrame({n: list(map(text, c)) for n, c in columns.items()}).to_csv(
        path, index=False
    )


def _jsonl(path, columns):
    rows = pa.table(columns).to_pylist()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _parquet(path, columns):
    pq.write_table(pa.table(columns), path)


def _tfrecord(path, columns):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in pa.table(columns).to_pylist():
            example = tf.train.Example()
            for name, value in row.items():
                values = value if isinstance(value, list) else [value]
                if all(v is None for v in values):
                    continue
                texts = any(isinstance(v, str) for v in values)
                missing = "" if texts else float("nan")  # keeps its place
                values = [missing if v is None else v for v in values]
                kind = "bytes_list" if texts else "float_list"
                values = [v.encode() for v in values] if texts else values
                feature = example.features.feature[name]
                getattr(feature, kind).value.extend(values)
            writer.write(example.SerializeToString())


WRITERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "tfrecord": _tfrecord}


def _examples(folder, format):
    """The config, and the examples of logs of a format."""
    columns = _rows()
    logs = {split: folder / f"{split}.{format}" for split in ("train", "valid", "test")}
    for path in logs.values():
        WRITERS[format](path, columns)
    logs = {split: [str(path)] for split, path in logs.items()}
    raw = raw_config({"logs": logs, "split": {"by": "given"}}, FEATURES, ["click"])
    path = folder / "config.yaml"
    path.write_text(json.dumps(raw))
    config = configs.load(path)
    (folder / "examples").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for user in first_stages.USERS:
            patch.setattr(user, "parallel_map", first_stages._parallel_map)
        summary = example_gen(config, {}, {"examples": folder / "examples"})
    assert summary["dead"] == 0
    return config, folder / "examples"


def _raw(config, artifact):
    """What Transform, and a server, takes in of the test split."""
    (batch,) = examples.read_batches(artifact / "Split-test")
    return batch, examples.raw_inputs(batch, config.raw_features)


def _declared(config, artifacts):
    sizes = json.loads((artifacts["transform_graph"] / "features.json").read_text())
    return declarations.declare(config, sizes)


def _records(config, artifacts):
    features, tasks = _declared(config, artifacts)
    files = artifacts["transformed_examples"] / "Split-test" / "*.tfrecord.gz"
    return next(iter(tfmtl.data.read(str(files), features, tasks, ROWS)))[0]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The config, and the artifacts of the first stages, of Parquet."""
    folder = tmp_path_factory.mktemp("parquet")
    config, artifact = _examples(folder, "parquet")
    names = "statistics transform_graph transformed_examples".split()
    artifacts = {"examples": artifact, **{name: folder / name for name in names}}
    for name in names:
        artifacts[name].mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for user in first_stages.USERS:
            patch.setattr(user, "parallel_map", first_stages._parallel_map)
        statistics_gen(config, artifacts, artifacts)
        transform(config, artifacts, artifacts)
    return config, artifacts


@pytest.mark.parametrize("format", ["csv", "jsonl", "tfrecord"])
def test_every_format_gives_the_same_examples(format, prepared, tmp_path):
    config, artifacts = prepared
    _, wanted = _raw(config, artifacts["examples"])
    _, found = _raw(*_examples(tmp_path, format))
    assert [*found] == [*wanted]
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)
        assert len(np.unique(values)) > 1, name


def test_statistics_know_how_wide_and_how_long_vectors_are(prepared, tmp_path):
    config, artifacts = prepared
    _, statistics = statistics_artifact.read(artifacts["statistics"], "train")
    cover, common = statistics["cover"], statistics["cover"].num_stats.common_stats
    vectors = [v for v in _rows()["cover"] if v]
    lengths = np.linalg.norm(np.float32(vectors), axis=1)
    assert cover.num_stats.mean == pytest.approx(lengths.mean(), rel=1e-6)
    assert (common.min_num_values, common.max_num_values) == (2, 2)
    assert common.num_missing == ROWS - len(vectors)
    # A vocabulary is of the values without their weights.
    values = {v.value for v in statistics["topics"].string_stats.top_values}
    assert values == {"a", "b", "c:d"}
    schema_gen(config, artifacts, {"schema": tmp_path})
    known = {feature.name: feature for feature in schema.read(tmp_path).feature}
    assert known["cover"].value_count.min == known["cover"].value_count.max == 2
    assert known["tags"].value_count.max == 0  # any number


def _of_logs(config, model):
    """What `predict` gives for the logs."""
    columns = casting.feature_columns(config, saved_model.features(model))
    (batch,) = pq.read_table(config.data.logs["test"][0]).to_batches()
    rows, wrong = casting.cast(batch, columns)
    assert not wrong
    return saved_model.Scorer(model)(rows)["click"]


def test_the_served_scores_are_those_of_the_records(prepared, tmp_path):
    config, artifacts = prepared
    features, tasks = _declared(config, artifacts)
    keras.utils.set_random_seed(1)
    model = tfmtl.models.get("shared_bottom")(features, tasks, units=(8,))
    # A few steps, which no graph is worth.
    model.compile(optimizer=keras.optimizers.Adam(0.05), run_eagerly=True)
    x = _records(config, artifacts)
    model.fit(x, {"click": np.arange(ROWS) % 3 == 0}, batch_size=ROWS, epochs=3)
    wanted = model.predict(x, batch_size=ROWS)["click"].ravel()
    assert wanted.std() > 0.05
    graph = artifacts["transform_graph"] / "transform_fn"
    tfmtl.export(model, tmp_path / "model" / "1", graph)
    batch, raw = _raw(config, artifacts["examples"])
    rows = {f.name: batch[f.name].to_pylist() for f in config.raw_features}
    found = _of_logs(config, tmp_path / "model" / "1")
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with serving.start(tmp_path / "model", "model") as server:
        with Client(server.url, "model") as client:
            found = np.ravel(client.predict(rows)["click"])
            of_events = ("seen", "seen_tab", "seconds", "ages")
            user = ("user", *of_events, "rates", "age")  # of a key that candidates have
            once = {name: rows[name][1] for name in user}
            others = {name: of for name, of in rows.items() if name not in user}
            ranked = np.ravel(client.rank(once, others)["click"])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    loaded = tf.saved_model.load(tmp_path / "model" / "1").signatures
    tiled = {n: np.repeat(v[1:2], ROWS, 0) if n in user else v for n, v in raw.items()}
    tiled = {name: tf.constant(values) for name, values in tiled.items()}
    expected = np.ravel(loaded["serving_default"](**tiled)["click"])
    np.testing.assert_allclose(ranked, expected, atol=1e-5)
