"""Whatever a table holds, its tf.Examples hold the same, and no row is lost."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.artifacts import examples
from pipeline.components.transform import tf_example
from pipeline.components.transform.graph import TransformGraph
from pipeline.components.transform.vocabulary import Vocabulary
from pipeline.config.features import CategoricalFeature, NumericFeature, SequenceFeature
from pipeline.logs import tf_examples

INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32)
LENGTH = 3


@st.composite
def columns(draw):
    """{name: integers or floats (rows,) or (rows, length)}."""
    rows = draw(st.integers(1, 30))
    # From 1, as the name of an Arrow column ends at a zero byte.
    letters = st.characters(codec="utf-8", min_codepoint=1)
    names = draw(st.sets(st.text(letters, min_size=1), min_size=1, max_size=5))
    result = {}
    for name in names:
        shape = draw(st.sampled_from([(rows,), (rows, 1), (rows, 4)]))
        dtype, elements = draw(
            st.sampled_from([(np.int64, INTEGERS), (np.float32, FLOATS)])
        )
        result[name] = draw(arrays.arrays(dtype, shape, elements=elements))
    return result


@settings(max_examples=80)
@given(columns(), st.integers(1, 40))
def test_numbers_come_back(table, rows_per_record):
    records = list(tf_example.examples(table, rows_per_record))
    rows = len(next(iter(table.values())))
    assert len(records) == -(-rows // rows_per_record)
    found = {name: [] for name in table}
    for record in records:
        features = tf.train.Example.FromString(record).features.feature
        assert set(features) == set(table)
        for name, feature in features.items():
            found[name] += getattr(feature, feature.WhichOneof("kind")).value
    # A second parser, which is TensorFlow's in C++.
    ((_, batch),), _ = tf_examples.decode(records)
    for name, values in table.items():
        flat = np.array(found[name], values.dtype)
        np.testing.assert_array_equal(flat, values.ravel())
        np.testing.assert_array_equal(batch.column(name).flatten(), values.ravel())


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
SOME_TEXTS = st.none() | st.sampled_from(["", "\n", "a\r\nb", "\\n", "名", '"']) | TEXTS
ROWS = st.fixed_dictionaries(
    {
        "word": SOME_TEXTS,
        # float32 is what a model takes in; beyond its range is infinite.
        "number": st.none() | FLOATS | st.integers(-(2**63), 2**63 - 1).map(float),
        "words": st.none() | st.lists(SOME_TEXTS, max_size=6),
        "label": st.none() | st.sampled_from([0.0, 1.0]),
    }
)
SCHEMA = pa.schema(
    {
        "word": pa.string(),
        "number": pa.float64(),
        "words": pa.list_(pa.string()),
        "label": pa.float64(),
    }
)
FEATURES = [
    CategoricalFeature(kind="categorical", name="word"),
    NumericFeature(kind="numeric", name="number", scaling="none"),
    SequenceFeature(kind="sequence", name="words", of="word", max_length=LENGTH),
]


@settings(max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=20))
@example([{"word": None, "number": 1e-45, "words": None, "label": None}] * 3)
def test_rows_come_back_through_the_transform_graph(rows):
    """Ids are looked up backwards; None and "" are one, a value that is missing."""
    known = {row["word"] for row in rows} | {w for r in rows for w in r["words"] or []}
    known = sorted(word.encode() for word in known - {None, ""}) or [b"x"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Vocabulary(pa.array(known, pa.binary()), Path(folder, "word"))
        graph = TransformGraph(
            FEATURES, {"word": vocabulary}, {}, verbatim=["word", "words"]
        )
        batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
        raw = examples.raw_inputs(batch, FEATURES)
        transformed = graph.transform({n: tf.constant(v) for n, v in raw.items()})
    label = examples.floats(batch.column("label"))
    records = list(
        tf_example.examples(
            {n: tensor.numpy() for n, tensor in transformed.items()} | {"label": label}
        )
    )
    assert len(records) == len(rows)
    words = ["", *(word.decode() for word in known)]
    for row, record in zip(rows, records, strict=True):
        found = tf.train.Example.FromString(record).features.feature
        (id_,) = found["word"].int64_list.value
        assert words[id_] == (row["word"] or "")
        latest = [word or "" for word in (row["words"] or [])[-LENGTH:]]
        got = [words[id_] for id_ in found["words"].int64_list.value]
        assert got == latest + [""] * (LENGTH - len(latest))
        (number,) = found["number"].float_list.value
        expected = np.float32(0 if row["number"] is None else row["number"])
        if abs(expected) < np.finfo(np.float32).tiny:
            # TensorFlow's kernels take subnormal numbers for 0, its copies don't.
            assert number in (0, expected)
        else:
            assert number == (expected if np.isfinite(expected) else 0)
        (label,) = found["label"].float_list.value
        assert label == row["label"] or (math.isnan(label) and row["label"] is None)
