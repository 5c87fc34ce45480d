import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import examples
from pipeline.config import Task
from pipeline.config.features import CategoricalFeature, NumericFeature, SequenceFeature

FEATURES = [
    CategoricalFeature(kind="categorical", name="city"),
    NumericFeature(kind="numeric", name="age"),
    SequenceFeature(kind="sequence", name="seen", of="city", max_length=2),
]
BATCH = pa.RecordBatch.from_pydict(
    {
        "city": ["Köln", None, "Rom", "a\0"],
        "age": [1.5, None, 0.0, 4.0],
        "seen": [["a", "b", "c"], None, [], ["d", None]],
    }
)
CITY = ["Köln".encode(), b"", b"Rom", b"a\0"]
SEEN = [[b"b", b"c"], [b"", b""], [b"", b""], [b"d", b""]]


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_raw_inputs_of_a_slice(start):
    raw = examples.raw_inputs(BATCH[start:], FEATURES)
    assert raw["city"].tolist() == CITY[start:]
    assert raw["seen"].tolist() == SEEN[start:]
    assert raw["seen"].shape == (4 - start, 2)
    np.testing.assert_array_equal(
        raw["age"], np.float32([1.5, np.nan, 0, 4])[start:], strict=True
    )


def test_distinct_inputs_have_each_string_once():
    batch = pa.RecordBatch.from_pydict(
        {
            "city": ["Rom", "Rom", None, "Rom"],
            "age": [1.0, 1.0, 2.0, 2.0],
            "seen": [["a", "b", "a"], ["b"], [], ["a"]],
        }
    )
    distinct = examples.distinct_inputs(batch, FEATURES)
    assert distinct["city"][0].tolist() == [b"Rom", b""]
    assert sorted(distinct["seen"][0].tolist()) == [b"", b"a", b"b"]
    raw = examples.raw_inputs(batch, FEATURES)
    for name in ("city", "seen"):
        values, where = distinct[name]
        np.testing.assert_array_equal(values[where], raw[name])
    assert raw["seen"].tolist() == [[b"b", b"a"], [b"b", b""], [b"", b""], [b"a", b""]]
    assert distinct["age"][1] is None


def test_raw_inputs_of_nothing_but_nulls():
    batch = pa.RecordBatch.from_arrays(
        [pa.nulls(2, f.type) for f in BATCH.schema], schema=BATCH.schema
    )
    raw = examples.raw_inputs(batch, FEATURES)
    assert raw["city"].tolist() == [b"", b""]
    assert raw["seen"].tolist() == [[b"", b""]] * 2
    assert np.isnan(raw["age"]).all()


@pytest.mark.parametrize("batch_rows", [3, 7, 1000])
@pytest.mark.parametrize(
    "start, stop", [(0, None), (0, 1), (9, 11), (12, 25), (24, 99)]
)
def test_read_batches_counts_rows_over_groups_and_shards(
    tmp_path, batch_rows, start, stop
):
    for i, rows in enumerate([range(10), range(10, 10), range(10, 27)]):
        table = pa.table(
            {"row": pa.array(rows, pa.int64()), "other": ["x"] * len(rows)}
        )
        pq.write_table(
            table, tmp_path / f"data-{i:05d}-of-00003.parquet", row_group_size=4
        )
    batches = list(
        examples.read_batches(
            tmp_path, batch_rows, columns=["row"], start=start, stop=stop
        )
    )
    assert examples.count_rows(tmp_path) == 27
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)
    assert {name for batch in batches for name in batch.schema.names} == {"row"}
    rows = [row for batch in batches for row in batch.column("row").to_pylist()]
    assert rows == list(range(27))[start:stop]


def test_a_place_has_the_shards_of_its_rows_alone(tmp_path):
    sizes = [4, 0, 3, 5]
    for i, size in enumerate(sizes):
        first = sum(sizes[:i])
        table = pa.table({"row": list(range(first, first + size))})
        pq.write_table(table, tmp_path / f"data-{i:05d}-of-00004.parquet")
    counts = examples.count_each(tmp_path)
    assert list(counts.values()) == sizes
    for start in range(13):
        for stop in range(start, 13):
            ((paths, *range_),) = examples.place(counts, [(start, stop)])
            batches = examples.read_batches(paths, 2, None, *range_)
            rows = [row for batch in batches for row in batch["row"].to_pylist()]
            assert rows == list(range(start, stop))
            if rows:  # The first and the last shard have some.
                assert range_[0] < counts[paths[0]]
                assert range_[1] > sum(counts[path] for path in paths[:-1])


def test_in_space():
    tasks = [
        Task(name="click", label="clicked"),
        Task(name="buy", space="click"),
        Task(name="stars", kind="regression", space="shown"),
        Task(name="keep", label="stars", kind="count", space="buy", row_weight="w"),
    ]
    batch = pa.RecordBatch.from_pydict(
        {
            "clicked": [1.0, 1.0, 0.0, None, 1.0],
            "buy": [0.0, None, 1.0, 1.0, 1.0],
            "stars": [5.0, 4.0, 3.0, 2.0, None],
            "shown": [1.0, None, 0.0, 1.0, 1.0],
            "w": [0.0] * 5,
            "half": [0.5, 0.0, None, 2.0, np.inf],
            "length": [9.0, 0.0, 9.0, 9.0, None],
        }
    )
    expected = {
        "click": [True, True, True, False, True],
        "buy": [True, False, False, False, True],
        "stars": [True, False, False, True, False],
        "keep": [False, False, False, False, False],  # buys outside clicks do not count
    }
    assert examples.label_columns(tasks) == ["clicked", "buy", "stars", "shown", "w"]
    weighted = tasks[0].model_copy(update={"row_weight": "half"})
    inside = examples.in_space(batch, weighted, [weighted])
    assert inside.tolist() == [True, False, False, False, False]
    timed = tasks[2].model_copy(update={"space": None, "duration": "length"})
    inside = examples.in_space(batch, timed, [timed])
    assert inside.tolist() == [True, False, True, True, False]
    waited = tasks[0].model_copy(update={"elapsed": "half"})
    inside = examples.in_space(batch, waited, [waited])
    assert inside.tolist() == [True, True, False, False, True]
    values = examples.labels(batch, tasks)
    for task in tasks:
        assert examples.in_space(batch, task, tasks).tolist() == expected[task.name]
        assert examples.in_space(values, task, tasks).tolist() == expected[task.name]
