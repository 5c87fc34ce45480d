"""The Census-Income dataset."""

import gzip
import http.server
import threading
from functools import partial

import pyarrow.csv as pv
import pytest
from paths import SHARED

from pipeline.datasets import census
from pipeline.errors import PipelineError

DATA = SHARED / "data" / "census_income"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(),
    reason="the two UCI files are not at ../shared/data/census_income",
)


@needs_data
def test_protocol(tmp_path):
    summary = census.generate(tmp_path, data=str(DATA))
    # The dataset's published sizes and label rates.
    assert summary["rows"] == 199_523 + 99_762
    assert summary["positive_rate"] == {
        "income_50k": 0.062,
        "never_married": 0.4331,
        "college": 0.1959,
    }
    tables = {
        s: pv.read_csv(tmp_path / s / "census.csv") for s in ("train", "valid", "test")
    }
    rows = {split: table.num_rows for split, table in tables.items()}
    assert rows == {"train": 199_523, "valid": 49_881, "test": 49_881}
    train = tables["train"].to_pandas()
    assert ((train["income"] == "50000+.") == (train["income_50k"] == 1)).all()
    married = train["marital_stat"] == "Never married"
    assert (married == (train["never_married"] == 1)).all()
    assert not (train == "?").any().any()
    again = tmp_path / "again"
    again.mkdir()
    census.generate(again, data=str(DATA))
    for split in tables:
        name = f"{split}/census.csv"
        assert (tmp_path / name).read_bytes() == (again / name).read_bytes()


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(PipelineError, match="census-income.data.gz does not exist"):
        census.generate(tmp_path, data=str(tmp_path))
    for name in census.FILES:
        (tmp_path / name).write_bytes(gzip.compress(b"1, 2")[:-4])
    with pytest.raises(PipelineError, match="not a whole gzip file"):
        census.generate(tmp_path, data=str(tmp_path))
    for name in census.FILES:
        (tmp_path / name).write_bytes(gzip.compress(b"1, 2"))
    with pytest.raises(PipelineError, match="must have MD5"):
        census.generate(tmp_path, data=str(tmp_path))


def test_download_verifies_and_explains(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    site = tmp_path / "site"
    site.mkdir()
    for name in census.FILES:
        (site / name).write_bytes(gzip.compress(b"something else"))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(census, "URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(PipelineError, match="must have MD5"):
            census.generate(tmp_path)
        server.shutdown()
    for file in (tmp_path / ".cache").rglob("*.gz"):
        file.unlink()
    with pytest.raises(PipelineError, match="cannot be downloaded.*by other means"):
        census.generate(tmp_path)
