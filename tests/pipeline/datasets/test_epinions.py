"""Epinions: what is known before a rating, and only that."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from paths import SHARED

from pipeline.components.log_source import log_source
from pipeline.datasets import epinions
from pipeline.errors import PipelineError

io = pytest.importorskip("scipy.io")
SPLITS = ("train", "valid", "test")
DATA = SHARED / "data" / "epinions"


def _matrices(rows=400):
    rng = np.random.default_rng(0)
    highest = (30, 40, 27, 5, 5, 11)
    ratings = np.stack([rng.integers(1, high + 1, rows) for high in highest], 1)
    trust = np.stack([rng.integers(1, high + 1, 200) for high in (35, 35, 11)], 1)
    return ratings, trust


def _write(folder, ratings, trust):
    folder.mkdir(exist_ok=True)
    io.savemat(folder / epinions.RATINGS, {"rating": ratings})
    io.savemat(folder / epinions.TRUST, {"trust": trust})
    return str(folder)


def _generate(folder, ratings, trust):
    out = folder / "out"
    out.mkdir()
    summary = epinions.generate(out, data=_write(folder / "data", ratings, trust))
    return summary, {s: pq.read_table(out / s).to_pylist() for s in SPLITS}


def test_each_bucket_is_in_its_split(tmp_path):
    ratings, trust = _matrices()
    summary, rows = _generate(tmp_path, ratings, trust)
    assert summary == {"rows": 400}
    assert {row["time"] for row in rows["train"]} == set(range(1, 10))
    assert {row["time"] for row in rows["valid"]} == {10}
    assert {row["time"] for row in rows["test"]} == {11}
    assert sum(map(len, rows.values())) == 400


def test_it_equals_a_loop_over_strictly_earlier_buckets(tmp_path):
    ratings, trust = _matrices()
    _, rows = _generate(tmp_path, ratings, trust)

    def mean(values):
        return pytest.approx(np.mean(values)) if len(values) else None

    for row in (row for split in rows.values() for row in split):
        before = ratings[ratings[:, 5] < row["time"]]
        by_user = before[before[:, 0] == row["user"]]
        of_item = before[before[:, 1] == row["item"]]
        known = trust[trust[:, 2] < row["time"]]
        assert row["user_ratings"] == len(by_user)
        assert row["user_mean_rating"] == mean(by_user[:, 3])
        assert row["user_mean_helpfulness"] == mean(by_user[:, 4])
        assert row["item_ratings"] == len(of_item)
        assert row["item_mean_rating"] == mean(of_item[:, 3])
        assert row["trusts"] == (known[:, 0] == row["user"]).sum()
        assert row["trusted_by"] == (known[:, 1] == row["user"]).sum()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the files are not at {DATA}")
def test_the_publishers_files(tmp_path):
    assert epinions.generate(tmp_path, data=str(DATA)) == {"rows": 922_267}
    rows = {s: pq.read_table(tmp_path / s, columns=[]).num_rows for s in SPLITS}
    assert rows == {"train": 848_924, "valid": 37_448, "test": 35_895}


def test_without_a_folder(tmp_path):
    config = make_config({"source": "epinions", "logs": None})
    with pytest.raises(PipelineError, match=r"data\.options\.data: epinions needs it"):
        log_source(config, {}, {"logs": tmp_path})


def test_files_that_are_missing_or_others(tmp_path):
    with pytest.raises(PipelineError, match=r"epinions_rating.*\.mat does not exist"):
        epinions.generate(tmp_path, data=str(tmp_path))
    ratings, trust = _matrices()
    data = _write(tmp_path / "columns", ratings[:, :5], trust)
    with pytest.raises(PipelineError, match=r"must have 6 columns.*shape \(400, 5\)"):
        epinions.generate(tmp_path, data=data)
    ratings[7, 5] = 12
    data = _write(tmp_path / "bucket", ratings, trust)
    with pytest.raises(PipelineError, match="a bucket from 1 to 11"):
        epinions.generate(tmp_path, data=data)
    io.savemat(tmp_path / "bucket" / epinions.RATINGS, {"other": ratings})
    with pytest.raises(PipelineError, match="it has no matrix 'rating'"):
        epinions.generate(tmp_path, data=data)
    (tmp_path / "bucket" / epinions.RATINGS).write_bytes(b"no MATLAB file" * 99)
    with pytest.raises(PipelineError, match="is not the original"):
        epinions.generate(tmp_path, data=data)
