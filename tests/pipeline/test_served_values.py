"""An exported model knows a value in every form in which it is sent."""

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

import serving
import tfmtl
from pipeline.components.transform.graph import TransformGraph
from pipeline.components.transform.vocabulary import Vocabulary
from pipeline.config.features import (
    CategoricalFeature,
    CrossedFeature,
    LookupFeature,
    MultivaluedFeature,
    NumericFeature,
    SequenceFeature,
    VectorFeature,
)
from serving.client import Client

RAW = [
    CategoricalFeature(kind="categorical", name="user"),
    CategoricalFeature(kind="categorical", name="vip", hash_buckets=16),
    CategoricalFeature(kind="categorical", name="version"),
    NumericFeature(kind="numeric", name="price"),
    NumericFeature(
        kind="numeric", name="income", scaling="log1p_zscore", piecewise_linear=2
    ),
    NumericFeature(kind="numeric", name="age", buckets=4),
    SequenceFeature(kind="sequence", name="seen", of="user", max_length=3),
    VectorFeature(kind="vector", name="cover", dim=2),
    MultivaluedFeature(
        kind="multivalued", name="tags", hash_buckets=9, max_length=2, weighted=True
    ),
    LookupFeature(kind="lookup", name="rates", key="user", max_length=3),
    CrossedFeature(kind="crossed", name="vip_age", of=["vip", "age"], hash_buckets=9),
]
NUMBERS = ["price", "income", "age"]
VALUES = ["5", "7", "0.2", "1.0", "1", "NA"]
MOMENTS = {"mean": 3.0, "std": 2.0, "log1p_mean": 1.0, "log1p_std": 0.5, "count": 9}
MOMENTS["quantiles"] = np.linspace(0, 40, 1001).tolist()
MOMENTS |= {"levels": [0.0, 3.0, 50_000.0], "level_counts": [3, 3, 3]}
# As ExampleGen writes the rows of a log.
ROWS = {
    "user": ["5", "7", "0.2", ""],
    "vip": ["true", "false", "", "true"],
    "version": ["1.0", "1", "NA", "5"],
    "price": np.float32([1, -2, np.nan, 7]),
    "income": np.float32([0, 50_000, np.nan, 3]),
    "age": np.float32([np.nan, 20, 39, 1]),
    "seen": [["5", "7", ""], ["0.2", "", ""], ["", "", ""], ["7", "7", "5"]],
    "cover": np.float32([[0.5, 1], [np.nan, np.nan], [-3, 2], [0, 0]]),
    "tags": [["5:0.5", "7:2.0"], ["", ""], ["7:1.0", ""], ["0.2:0.0", "5:3.0"]],
    "rates": [
        ["5:0.5", "7:9.0", ""],
        ["5:9.0", "", ""],
        ["0.2:-1.5", "5:9.0", ""],
        [""] * 3,
    ],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    vocabularies = {
        name: Vocabulary(pa.array(VALUES).cast(pa.binary()), folder / f"{name}.txt")
        for name in ("user", "version")
    }
    moments = dict.fromkeys(NUMBERS, MOMENTS)
    graph = TransformGraph(RAW, vocabularies, moments, verbatim=["version"])
    graph.save(folder / "transform")
    features = []
    for name, described in graph.describe().items():
        if described["kind"] == "numeric":
            features.append(tfmtl.Numeric(name, described.get("boundaries")))
        elif described["kind"] == "sequence":
            features.append(tfmtl.Sequence(name, of="user", max_length=3))
        elif described["kind"] == "vector":
            features.append(tfmtl.Vector(name, described["dim"]))
        elif described["kind"] == "multivalued":
            own = {"max_length": 2, "weights": "tags_weights"}
            features.append(tfmtl.Multivalued(name, described["size"], **own))
        else:
            features.append(tfmtl.Categorical(name, described["size"]))
    keras.utils.set_random_seed(1)
    tasks = [tfmtl.Task("click"), tfmtl.Task("seconds", kind="regression")]
    model = tfmtl.models.get("shared_bottom")(features=features, tasks=tasks)
    for weight in model.trainable_weights:  # far from 0.5 everywhere
        weight.assign(1.5 * weight + 0.3 * (weight.name == "missing"))
    tfmtl.export(model, folder / "model" / "1", folder / "transform")
    return folder / "model" / "1"


@pytest.fixture(scope="module")
def ask(exported):
    """Runs a signature in a session of its own, as TF Serving does."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(exported))

    def ask(name, inputs):
        signature = graph.signature_def[name]
        fetch = {key: info.name for key, info in signature.outputs.items()}
        feed = {signature.inputs[k].name: values for k, values in inputs.items()}
        return session.run(fetch, feed)

    yield ask
    session.close()


@pytest.fixture(scope="module")
def wanted(ask):
    scores = ask("serving_default", ROWS)
    assert len(np.unique(scores["click"])) == 4
    return scores


def _records(rows):
    """tf.Examples of rows: of ints, floats and bytes, as Python has them."""
    records = []
    for i in range(4):
        record = tf.train.Example()
        for name, values in rows.items():
            items = values[i] if np.ndim(values[i]) else [values[i]]
            items = [v for v in items if v is not None and v != "" and v == v]
            items = [v.encode() if isinstance(v, str) else v for v in items]
            kind = {bytes: "bytes_list", float: "float_list", np.float32: "float_list"}
            for item in items:
                of = kind.get(type(item), "int64_list")
                getattr(record.features.feature[name], of).value.append(item)
        records.append(record.SerializeToString())
    return records


_OTHER_FORMS = {
    "numbers": {
        "user": [5, 7, 0.2, None],
        "vip": ["true", "false", None, "true"],
        "price": [1, -2, None, 7],
        "income": [0, 50_000, None, 3],
        "age": [None, 20, 39, 1],
        "seen": [[5, 7], [0.2], [], [7, 7, 5]],
        "cover": [[0.5, 1.0], [], [-3, 2], [0, 0]],
        "tags": [["5:.5", "7:2"], [], [7], ["0.2:0", "5:3"]],
        "rates": [["5:9", "5:.5"], [], ["0.2:-1.5"], ["7:3"]],
    },
    "floats": {
        "user": [5.0, 7.0, 0.2, float("nan")],
        "price": [1.0, -2.0, None, 7.0],
        "seen": [[5.0, 7.0], [0.2], [], [7.0, 7.0, 5.0]],
    },
    "texts": {
        "user": ["5.0", "7.00", "0.2", "null"],
        "vip": ["True", "FALSE", "NA", "TRUE"],
        "price": ["1.0", "-2", "N/A", "7"],
        "income": ["0", "50000", "?", "3.0"],
        "seen": [["5.0", "7"], ["0.2", "nan"], [], ["7.0", "7", "5"]],
        "cover": [["0.5", "1"], [], ["-3", "2.0"], ["0", "0"]],
        "tags": [["5.0:5e-1", "7:2"], ["NA:3"], ["5:x", "7.00"], ["5:-1", "5: 3.0"]],
        "rates": [["5.0:5e-1"], ["7:x"], ["0.2:-1.50"], ["NA:9", "7:9"]],
    },
}


@pytest.mark.parametrize("form", _OTHER_FORMS)
def test_records_of_the_logs_are_understood(form, ask, wanted):
    plain = {n: v.tolist() if n in NUMBERS else v for n, v in ROWS.items()}
    records = _records({**plain, **_OTHER_FORMS[form]})
    found = ask("examples", {"examples": records})
    for task, scores in wanted.items():
        np.testing.assert_allclose(found[task], scores, rtol=1e-5)
    found = ask("classify", {"inputs": records})
    np.testing.assert_allclose(found["scores"], wanted["click"], rtol=1e-5)
    found = ask("regress", {"inputs": records})
    np.testing.assert_allclose(found["outputs"], wanted["seconds"], rtol=1e-5)


def test_texts_of_a_rest_request_are_those_of_the_logs(ask, wanted):
    other = {
        "user": ["5.0", "7.00", "0.2", "null"],
        "vip": ["True", "FALSE", "NA", "TRUE"],
        "seen": [["5.0", "7", "NA"], ["0.2", "", ""], [""] * 3, ["7.0", "7", "5"]],
    }
    for signature in ("serving_default", "rank"):
        found = ask(signature, {**ROWS, **other})
        for task, scores in wanted.items():
            np.testing.assert_allclose(found[task], scores, rtol=1e-5)
    # A column that is verbatim knows 1 from 1.0, and "NA" as a value.
    swapped = ask("serving_default", {**ROWS, "version": ["1", "1.0", "", "5.0"]})
    assert (swapped["click"] != wanted["click"]).all()


def test_a_client_sends_what_the_logs_hold(exported, wanted):
    frame = pd.DataFrame(
        {
            "user": [5.0, 7.0, 0.2, None],
            "vip": pd.Series([True, False, None, True], dtype="boolean"),
            "version": ROWS["version"],
            "price": pd.Series([1, -2, None, 7], dtype="Int16"),
            "income": ROWS["income"],
            "age": ROWS["age"],
            "seen": [[5, 7], [np.float32(0.2)], None, np.array([7.0, 7, 5])],
            "cover": [[0.5, 1], None, np.float32([-3, 2]), (0, 0)],
            "tags": [["5:0.5", "7:2"], None, [7], ["0.2:1", "0.2:0", "5:3"]],
            "rates": [["5:0.5"], None, ["0.2:-1.5", "7:2"], []],
        }
    )
    with serving.start(exported.parent, "model") as server:
        with Client(server.url, "model") as client:
            for data in (frame, frame.to_dict("records"), frame.to_dict("list")):
                found = client.predict(data)
                for task, scores in wanted.items():
                    np.testing.assert_allclose(
                        np.array(found[task]).ravel(), scores.ravel(), rtol=1e-5
                    )


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_missing_and_changes_no_other_row(
    name, value, ask, wanted
):
    """As in training: Transform takes it for missing, and the moments leave it out."""
    values = ROWS[name].copy()
    values[1] = value
    rows = {**ROWS, name: values}
    without = {**ROWS, name: np.where(np.arange(4) == 1, np.float32(np.nan), values)}
    missing = ask("serving_default", without)
    records = _records({n: v.tolist() if n in NUMBERS else v for n, v in rows.items()})
    found = [ask(signature, rows) for signature in ("serving_default", "rank")]
    found.append(ask("examples", {"examples": records}))
    found.append({"click": ask("classify", {"inputs": records})["scores"]})
    found.append({"seconds": ask("regress", {"inputs": records})["outputs"]})
    for outputs in found:
        for task, scores in outputs.items():
            assert np.isfinite(scores).all()
            np.testing.assert_allclose(scores, missing[task], rtol=1e-5)
            others = np.delete(scores, 1)
            np.testing.assert_allclose(others, np.delete(wanted[task], 1), rtol=1e-5)


def test_rank_with_a_user_once_gives_what_each_row_gives(ask):
    user = {name: ROWS[name][:1] for name in ("user", "vip", "age", "seen")}
    found = ask("rank", {**ROWS, **user})
    tiled = {name: np.repeat(values, 4, axis=0) for name, values in user.items()}
    each = ask("serving_default", {**ROWS, **tiled})
    for task, scores in each.items():
        np.testing.assert_allclose(found[task], scores, rtol=1e-5)
