"""Splits by several columns, by chance, and valid cut out of train."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import splits
from pipeline.components.example_gen.component import example_gen
from pipeline.errors import PipelineError

ROWS = 3000


def _write(folder, name, start=0):
    rows = range(start, start + ROWS)
    table = {"user": [f"u{i % 40}" for i in rows], "day": [i // 40 % 3 for i in rows]}
    table |= {"click": [i % 2 for i in rows], "row": list(rows)}
    pq.write_table(pa.table(table), folder / name, row_group_size=1000)


def _run(folder, logs, split, out="out"):
    """{split: its rows}."""
    (folder / out).mkdir()
    config = make_config({"logs": logs, "split": split})
    summary = example_gen(config, {}, {"examples": folder / out})
    assert summary["dead"] == 0
    return {
        name: pa.concat_tables(
            pq.read_table(file, partitioning=None)
            for file in sorted((folder / out / f"Split-{name}").iterdir())
        )
        for name in SPLITS
    }


def test_by_several_columns_rows_alike_in_all_stay_together(tmp_path):
    _write(tmp_path, "log.parquet")
    split = {"by": "hash", "column": ["user", "day"], "train": 0.6, "valid": 0.2}
    found = _run(tmp_path, [f"{tmp_path}/log*"], split)
    pairs = {
        name: set(zip(t["user"].to_pylist(), t["day"].to_pylist(), strict=True))
        for name, t in found.items()
    }
    assert sum(map(len, pairs.values())) == len(set.union(*pairs.values())) == 120
    assert all(len(pairs[name]) > 10 for name in SPLITS)
    for column in ("user", "day"):  # neither alone decides
        of_train, of_test = (found[s][column].to_pylist() for s in ("train", "test"))
        assert set(of_train) & set(of_test)


def test_by_chance_each_row_by_itself_and_again_the_same(tmp_path):
    _write(tmp_path, "log.parquet")
    split = {"by": "random", "train": 0.5, "valid": 0.25}

    def rows(out, **options):
        found = _run(tmp_path, [f"{tmp_path}/log*"], {**split, **options}, out)
        return {name: table["row"].to_pylist() for name, table in found.items()}

    first = rows("a")
    shares = [len(first[name]) / ROWS for name in SPLITS]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.04)
    # Neighbours are independent.
    train = np.isin(np.arange(ROWS), first["train"])
    assert abs(np.corrcoef(train[1:], train[:-1])[0, 1]) < 0.08
    assert rows("b") == first
    assert rows("c", seed=1) != first


@pytest.mark.parametrize("column", [None, "user"])
def test_valid_is_cut_out_of_train(column, tmp_path):
    _write(tmp_path, "a.parquet")
    _write(tmp_path, "b.parquet", ROWS)
    logs = {"train": [f"{tmp_path}/a*"], "test": [f"{tmp_path}/b*"]}
    found = _run(tmp_path, logs, {"by": "given", "valid": 0.3, "column": column})
    assert found["test"]["row"].to_pylist() == list(range(ROWS, 2 * ROWS))
    both = found["train"]["row"].to_pylist() + found["valid"]["row"].to_pylist()
    assert sorted(both) == list(range(ROWS))
    of_train, of_valid = (set(found[s]["user"].to_pylist()) for s in SPLITS[:2])
    assert bool(of_train & of_valid) == (column is None)
    assert 0.1 < found["valid"].num_rows / ROWS < 0.5


def test_a_null_in_any_of_the_columns_has_no_place():
    columns = [pa.array(["a", None, "a"]), pa.array([1, 1, None])]
    places = splits.hashed(columns)
    assert np.isnan(places).tolist() == [False, True, True]
    assert splits.by_share(places, 0.5, 0.2)[1:].tolist() == [-1, -1]
    assert places[0] != splits.hashed(columns[::-1])[0]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"by": "random", "column": "user"}, "draws each row by itself"),
        ({"by": "time", "column": ["a", "b"]}, "needs one `column`"),
        ({"by": "hash", "column": []}, "at least 1 item"),
    ],
)
def test_splits_that_are_none(split, message):
    with pytest.raises(ValueError, match=message):
        make_config({"split": split})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("u,01/02/2024,1\n" * 2, r"The first is '01/02/2024' \(.*log\.csv, 2\)"),
        ("u,2024-01-02,1,\n" * 2, r"not fit: .*csv, 2: 4 fields .* ends with a delim"),
        ("", r"log\.csv has no rows"),
    ],
)
def test_a_split_by_time_without_times_shows_why(lines, message, tmp_path):
    (tmp_path / "log.csv").write_text(f"user,day,click\n{lines}")
    split = {"by": "time", "column": "day", "train": 0.6, "valid": 0.2}
    with pytest.raises(PipelineError, match=message):
        _run(tmp_path, [f"{tmp_path}/log*"], split)


def test_a_split_column_of_a_type_without_order_is_told_once(tmp_path):
    table = pa.table({"user": ["a"], "day": [{"of": 1}], "click": [1]})
    pq.write_table(table, tmp_path / "log.parquet")
    split = {"by": "time", "column": "day", "train": 0.6, "valid": 0.2}
    with pytest.raises(PipelineError) as caught:
        _run(tmp_path, [f"{tmp_path}/log*"], split)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        "data.split.column: column 'day' is struct<of: int64>, where"
    )
