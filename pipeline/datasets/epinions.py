"""Epinions: ratings of products in 27 categories, each with what was known before it.

Times are buckets 1 to 11, the oldest first: 1 to 9 train, 10 validates, 11 tests. The
columns of the ratings file, `user`, `item`, `category`, `rating` (1 to 5),
`helpfulness` (1 to 5) and `time`, get others beside them, which count what lies in
strictly earlier buckets:

| column | of the earlier buckets |
|---|---|
| `user_ratings`, `item_ratings` | ratings by the user, of the item |
| `user_mean_rating`, `item_mean_rating` | their mean, or null |
| `user_mean_helpfulness` | how helpful the user's reviews are on average, or null |
| `trusts`, `trusted_by` | users whom this one trusts, and who trust this one |

When others found a review helpful is not in the data; it is taken as known once the
review's bucket is over.

Data: `epinions_rating_with_timestamp.mat` and `epinion_trust_with_timestamp.mat` of
https://www.cse.msu.edu/~tangjili/trust.html, for research.

References:
    - [mTrust](https://doi.org/10.1145/2124295.2124309), Tang, Gao and Liu, WSDM 2012.
    - [eTrust](https://doi.org/10.1145/2339530.2339574), Tang, Gao, Liu and Das Sarma,
      KDD 2012.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import PipelineError

RATINGS = "epinions_rating_with_timestamp.mat"
TRUST = "epinion_trust_with_timestamp.mat"
COLUMNS = ("user", "item", "category", "rating", "helpfulness", "time")
SPLITS = {"train": (1, 9), "valid": (10, 10), "test": (11, 11)}  # first, last bucket
BUCKETS = 11


def generate(folder: Path, *, data: str) -> dict:
    """Writes the ratings as Parquet: train/, valid/ and test/.

    Args:
        folder: Where to write.
        data: Folder with the two files.

    Returns:
        {"rows"}.

    Raises:
        PipelineError: If SciPy is not installed, or a file is missing or no such file.
    """
    ratings = _read(Path(data) / RATINGS, "rating", len(COLUMNS))
    trust = _read(Path(data) / TRUST, "trust", 3)
    columns = dict(zip(COLUMNS, ratings.T, strict=True))
    user, item, time = columns["user"], columns["item"], columns["time"]
    for name, key, of in (
        ("user", user, "rating"),
        ("user", user, "helpfulness"),
        ("item", item, "rating"),
    ):
        count = _before(key, time, key, time, np.ones(len(time)))
        columns[f"{name}_ratings"] = count.astype(np.int64)
        total = _before(key, time, key, time, columns[of])
        columns[f"{name}_mean_{of}"] = _mean(total, count)
    trustor, trustee, since = trust.T
    for name, key in (("trusts", trustor), ("trusted_by", trustee)):
        count = _before(user, time, key, since, np.ones(len(key)))
        columns[name] = count.astype(np.int64)
    table = pa.table(columns)
    for split, (first, last) in SPLITS.items():
        (folder / split).mkdir()
        rows = pa.array((time >= first) & (time <= last))
        pq.write_table(table.filter(rows), folder / split / "epinions.parquet")
    return {"rows": len(table)}


def _before(key, time, of_key, of_time, value) -> np.ndarray:
    """The sum of `value` over what has the same key and lies in an earlier bucket."""
    keys = 1 + max(key.max(), of_key.max())
    at = of_key * (BUCKETS + 1) + of_time
    sums = np.bincount(at, value, keys * (BUCKETS + 1)).reshape(keys, BUCKETS + 1)
    return sums.cumsum(1)[key, time - 1]


def _mean(total: np.ndarray, count: np.ndarray) -> pa.Array:
    return pa.array(total / np.maximum(count, 1), mask=count == 0)


def _read(path: Path, key: str, columns: int) -> np.ndarray:
    """Returns a matrix of a MATLAB file, with its time last, as (rows, columns)."""
    try:
        import scipy.io
    except ImportError as error:
        raise PipelineError(
            "data.source: epinions is in MATLAB files, which SciPy reads: "
            "pip install scipy"
        ) from error
    if not path.is_file():
        raise PipelineError(
            f"data.options.data: {path} does not exist. The folder must hold {RATINGS} "
            f"and {TRUST}, of https://www.cse.msu.edu/~tangjili/trust.html"
        )
    try:
        matrix = np.asarray(scipy.io.loadmat(path)[key]).astype(np.int64)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise PipelineError(
            f"{path} is not the original, it has no matrix {key!r}: {error}. Fetch it "
            "again"
        ) from error
    is_time = matrix[:, -1] if matrix.ndim == 2 else matrix[:0]
    if matrix.shape[1:] != (columns,) or not ((1 <= is_time) & (is_time <= 11)).all():
        raise PipelineError(
            f"{path} is not the original: {key!r} must have {columns} columns, the "
            f"last of them a bucket from 1 to {BUCKETS}. Received: shape "
            f"{matrix.shape}. Fetch it again"
        )
    return matrix
