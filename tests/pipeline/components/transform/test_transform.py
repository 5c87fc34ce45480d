"""Transform against a naive one, row by row, over small examples and statistics."""

import json
import math
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from conftest import make_config

from pipeline.components.transform.component import transform
from pipeline.errors import PipelineError

CONFIG = make_config(
    features=[
        "user",
        {"name": "video", "kind": "categorical", "vocabulary": {"min_count": 2}},
        {"name": "age", "kind": "numeric"},
        {"name": "seen", "kind": "sequence", "of": "video", "max_length": 3},
    ],
    tasks=["click", {"name": "seconds", "kind": "regression", "space": "played"}],
)
SCHEMA = pa.schema(
    {
        "user": pa.string(),
        "video": pa.string(),
        "note": pa.string(),
        "age": pa.float64(),
        "seen": pa.list_(pa.string()),
        "click": pa.float64(),
        "seconds": pa.float64(),
        "played": pa.float64(),
    }
)
ROWS = {"train": 1001, "valid": 70, "test": 2}


def make_rows(split):
    """Rows with missing values of every kind, and values that train has not."""
    for i in range(ROWS[split]):
        yield {
            "user": None if i % 7 == 0 else f"u{i % 90}\n",
            "video": f"{split}-only" if i % 11 == 0 else f"v{i % 40}",
            "note": "not of the model",
            "age": None if i % 5 == 0 else float(i % 13),
            "seen": None if i % 3 == 0 else [f"v{j}" for j in range(i % 6)],
            "click": None if i % 9 == 0 else float(i % 2),
            "seconds": i / 8,
            "played": float(i % 4 == 0),
        }


def vocabulary(name, min_count):
    counts = Counter(row[name] for row in make_rows("train") if row[name] is not None)
    kept = [item for item in counts.items() if item[1] >= min_count]
    return counts, [v for v, _ in sorted(kept, key=lambda item: (-item[1], item[0]))]


def ages():
    values = [row["age"] for row in make_rows("train") if row["age"] is not None]
    mean = sum(values) / len(values)
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return {"count": len(values), "mean": mean, "std": std}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The artifacts `examples` and `statistics`."""
    root = tmp_path_factory.mktemp("inputs")
    for split in ROWS:
        folder = root / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        table = pa.Table.from_pylist(list(make_rows(split)), SCHEMA)
        middle = len(table) // 3
        for i, part in enumerate((table[:middle], table[middle:])):
            path = folder / f"data-{i:05d}-of-00002.parquet"
            pq.write_table(part, path, row_group_size=300)
    for name in ("user", "video"):
        folder = root / "statistics" / "vocabulary" / name
        folder.mkdir(parents=True)
        counts, _ = vocabulary(name, 1)
        table = pa.table({"value": list(counts), "count": list(counts.values())})
        pq.write_table(table, folder / "part.parquet")
    (root / "statistics" / "moments.json").write_text(json.dumps({"age": ages()}))
    return {name: root / name for name in ("examples", "statistics")}


def run(inputs, root):
    outputs = {n: root / n for n in ("transform_graph", "transformed_examples")}
    for folder in outputs.values():
        folder.mkdir(parents=True)
    return transform(CONFIG, inputs, outputs), outputs


@pytest.fixture(scope="module")
def result(inputs, tmp_path_factory):
    return run(inputs, tmp_path_factory.mktemp("outputs"))


def test_shards_and_summary(result):
    summary, outputs = result
    ids = {"user": 91, "video": 42}
    assert summary == {"rows": 1073, "splits": ROWS, "ids": ids, "notes": []}
    files = {
        split: sorted(
            path.name
            for path in (outputs["transformed_examples"] / f"Split-{split}").iterdir()
        )
        for split in ROWS
    }
    name = "transformed_examples-{:05d}-of-{:05d}.tfrecord.gz"
    assert files == {
        "train": [name.format(i, 4) for i in range(4)],
        "valid": [name.format(0, 1)],
        "test": [name.format(0, 1)],
    }
    written = outputs["transformed_examples"] / "summary.json"
    assert json.loads(written.read_text()) == {"rows": ROWS}
    features = json.loads((outputs["transform_graph"] / "features.json").read_text())
    assert features["video"] == {"kind": "categorical", "size": 42}
    assert features["seen"] == {"kind": "sequence", "of": "video", "max_length": 3}


@pytest.mark.parametrize("split", ROWS)
def test_records_are_those_of_a_naive_transform_in_order(result, split):
    _, outputs = result
    ids = {
        name: {v: i for i, v in enumerate(vocabulary(name, least)[1], 1)}
        for name, least in (("user", 1), ("video", 2))
    }
    moments = ages()
    files = sorted((outputs["transformed_examples"] / f"Split-{split}").iterdir())
    records = tf.data.TFRecordDataset([str(f) for f in files], "GZIP")
    count = 0
    for row, record in zip(make_rows(split), records.as_numpy_iterator(), strict=True):
        got = tf.train.Example.FromString(record).features.feature
        count += 1
        assert set(got) == {
            "user",
            "video",
            "age",
            "seen",
            "click",
            "seconds",
            "played",
        }
        for name in ids:
            assert got[name].int64_list.value == [ids[name].get(row[name], 0)]
        seen = [ids["video"].get(v, 0) for v in (row["seen"] or [])[-3:]]
        assert got["seen"].int64_list.value == seen + [0] * (3 - len(seen))
        age = 0.0
        if row["age"] is not None:
            age = (row["age"] - moments["mean"]) / moments["std"]
        assert got["age"].float_list.value == pytest.approx([age], abs=1e-5)
        for name in ("click", "seconds", "played"):
            expected = math.nan if row[name] is None else row[name]
            assert got[name].float_list.value == pytest.approx([expected], nan_ok=True)
    assert count == ROWS[split]


def test_same_input_same_bytes(inputs, result, tmp_path):
    _, first = result
    _, second = run(inputs, tmp_path)
    compared = 0
    for path in first["transformed_examples"].rglob("*.gz"):
        other = second["transformed_examples"] / path.parent.name / path.name
        assert path.read_bytes() == other.read_bytes()
        compared += 1
    assert compared == 6
    for name in ("features.json", "transform_fn/assets/user.txt"):
        one, two = (out["transform_graph"] / name for out in (first, second))
        assert one.read_bytes() == two.read_bytes()


def test_no_examples_is_refused(inputs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineError, match="no folder Split-"):
        run({**inputs, "examples": tmp_path / "empty"}, tmp_path)
