"""StatisticsGen through Beam on columns as logs have them, against pandas."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.components import statistics_gen
from pipeline.components.transform import vocabulary
from pipeline.statistics import sketch

ROWS = 60_000
LEVELS = np.arange(1001) / 1000
NUMBERS = ("seconds", "price", "balance", "at")


@pytest.fixture(scope="module")
def frame():
    """The train split: a few values in most rows, the others once, and many digits."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "user": np.char.add("ü", (rng.zipf(1.3, ROWS) % 30_000).astype(str)),
            "word": rng.choice(list("bBaé中") + ["", "a b", "😀"], ROWS),  # near ties
            "seconds": rng.lognormal(3, 2, ROWS),
            "price": rng.integers(1, 3000, ROWS) / 100,  # few distinct values
            "balance": rng.standard_t(2, ROWS) * 1000,  # of both signs, far tails
            "at": 1_760_000_000_000.0 + rng.integers(0, 10**9, ROWS),
            "click": rng.integers(0, 2, ROWS).astype(float),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.07)


@pytest.fixture(scope="module")
def statistics(frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for split, rows in (("train", table), ("valid", table[:99]), ("test", table[:99])):
        (folder / f"Split-{split}").mkdir()
        for i in range(2):
            path = folder / f"Split-{split}" / f"data-{i:05d}-of-00002.parquet"
            half = len(rows) // 2
            pq.write_table(rows[half:] if i else rows[:half], path)
    numeric = [{"name": name, "kind": "numeric"} for name in NUMBERS]
    config = make_config(features=["user", "word", *numeric])
    output = tmp_path_factory.mktemp("statistics")
    statistics_gen.statistics_gen(config, {"examples": folder}, {"statistics": output})
    return output


@pytest.mark.parametrize("name", ["user", "word"])
@pytest.mark.parametrize("limits", [{}, {"min_count": 3}, {"max_size": 4}])
def test_vocabularies(name, limits, frame, statistics):
    counts = frame[name].replace("", None).value_counts().rename_axis("value")
    counts = counts.reset_index(name="count")
    counts["bytes"] = counts["value"].str.encode("utf-8")
    counts = counts.sort_values(["count", "bytes"], ascending=[False, True])
    counts = counts[counts["count"] >= limits.get("min_count", 1)]
    want = counts["bytes"].tolist()[: limits.get("max_size")]
    found = vocabulary.read(
        [statistics / "vocabulary" / name], vocabulary.VocabularyConfig(**limits)
    )
    assert found.to_pylist() == want
    assert len(want) == (4 if limits.get("max_size") else len(counts)) > 3


@pytest.mark.parametrize("name", NUMBERS)
def test_moments(name, frame, statistics):
    found = json.loads((statistics / "moments.json").read_text())[name]
    column = frame[name]
    logs = np.log1p(column.clip(lower=0))
    assert found["count"] == column.count()
    assert found["missing"] == column.isna().sum() > 0
    assert (found["min"], found["max"]) == (column.min(), column.max())
    want = [column.mean(), column.std(ddof=0), logs.mean(), logs.std(ddof=0)]
    got = [found[key] for key in ("mean", "std", "log1p_mean", "log1p_std")]
    # pandas sums squares of deviations from a mean that is rounded itself.
    np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize("name", NUMBERS)
def test_quantiles(name, frame, statistics):
    """They lie in the bucket of pandas' quantile, and are it if all values have one."""
    found = json.loads((statistics / "moments.json").read_text())[name]["quantiles"]
    column = frame[name].dropna()
    distinct = pd.Series(column.unique())
    if len(distinct) <= sketch.BUCKETS:
        np.testing.assert_allclose(found, column.quantile(LEVELS), rtol=1e-12)
        return
    # As the module states: values that share the longest prefix of the bits of their
    # order that at most 8192 groups of them have. Of one sign, the order is that of
    # the bits; of negative numbers, turned around, which makes the same groups.
    bits = distinct.to_numpy().view(np.uint64)
    shift = next(s for s in range(64) if len(np.unique(bits >> np.uint64(s))) <= 8192)
    groups = distinct.groupby(bits >> np.uint64(shift))
    lows = pd.Series(groups.transform("min").to_numpy(), index=distinct)
    highs = pd.Series(groups.transform("max").to_numpy(), index=distinct)
    lower = column.quantile(LEVELS, interpolation="lower")
    higher = column.quantile(LEVELS, interpolation="higher")
    assert (found >= lows[lower].to_numpy()).all()
    assert (found <= highs[higher].to_numpy()).all()
    exact = column.quantile(LEVELS).to_numpy()
    assert 0 < np.abs(found - exact).max()  # the buckets were needed
