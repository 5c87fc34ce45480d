"""StatisticsGen and SchemaGen against NumPy, and what must not depend on the runner."""

import json
import pickle
import random
import statistics

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.artifacts import schema as schema_artifact
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.components import schema_gen, statistics_gen
from pipeline.errors import PipelineError
from pipeline.run import run
from pipeline.statistics import job as analysis
from pipeline.statistics import protos
from pipeline.statistics import sketch as quantiles
from pipeline.statistics.columns import Moments, StringStatistics
from pipeline.statistics.label_pairs import LabelPair
from pipeline.statistics.splits import SplitStatistics

FEATURES = [
    "user",
    "tab",
    {"name": "city", "kind": "categorical", "hash_buckets": 10},
    "never",
    {"name": "age", "kind": "numeric", "piecewise_linear": 8},
    {"name": "spend", "kind": "numeric", "scaling": "log1p_zscore"},
    {"name": "watched", "kind": "sequence", "of": "user"},
]
CONFIG = make_config(
    features=FEATURES,
    domain="tab",
    tasks=[
        "click",
        {"name": "buy", "label": "bought", "space": "click"},
        {"name": "seconds", "kind": "regression", "space": "played"},
    ],
)


def rows(count, seed):
    """A table of examples, with nulls where columns may have them."""
    rng = np.random.default_rng(seed)

    def some(values, missing=0.1, type_=None):
        return pa.array(values, type_, mask=rng.random(count) < missing)

    words = [f"w{i}" for i in range(40)]
    lists = [
        None if rng.random() < 0.1 else list(rng.choice(words, rng.integers(0, 6)))
        for _ in range(count)
    ]
    return pa.table(
        {
            "user": some(np.char.add("u", rng.integers(0, 900, count).astype(str))),
            "tab": some(rng.choice(["a", "b", "all"], count, p=[0.6, 0.3, 0.1])),
            "city": some(rng.choice(["x", "y"], count), 0),
            "never": pa.nulls(count, pa.string()),
            "age": some(rng.integers(18, 90, count).astype(float)),
            "spend": some(np.exp(3 * rng.standard_normal(count))),
            "watched": pa.array(lists, pa.list_(pa.string())),
            "click": some((rng.random(count) < 0.3).astype(float)),
            "bought": some((rng.random(count) < 0.5).astype(float), 0.3),
            "played": some(rng.integers(0, 2, count).astype(float), 0),
            "seconds": some(rng.exponential(9.0, count), 0.2),
            "at": some(1_700_000_000_000 + rng.integers(0, 9**9, count), 0),
            "new_user": some(rng.random(count) < 0.2, 0.5, pa.bool_()),
            "when": pa.array([0] * count, pa.timestamp("s")),
            "grid": pa.array([[[i, 2 * i], None, []] for i in range(count)]),
        }
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """{split: table}, and the folder they are written to, in several files."""
    folder = tmp_path_factory.mktemp("examples")
    tables = {"train": rows(4000, 0), "valid": rows(500, 1), "test": rows(600, 2)}
    write(folder, tables)
    return folder, tables


def write(folder, tables, shards=3):
    for split, table in tables.items():
        target = folder / f"Split-{split}"
        target.mkdir(parents=True)
        for shard, at in enumerate(np.array_split(np.arange(len(table)), shards)):
            path = target / f"data-{shard:05d}-of-{shards:05d}.parquet"
            if len(at):
                pq.write_table(table[int(at[0]) : int(at[-1]) + 1], path)


def generate(config, folder, output):
    output.mkdir()
    inputs, outputs = {"examples": folder}, {"statistics": output}
    return statistics_gen.statistics_gen(config, inputs, outputs)


@pytest.fixture(scope="module")
def artifact(examples, tmp_path_factory):
    output = tmp_path_factory.mktemp("output") / "statistics"
    summary = generate(CONFIG, examples[0], output)
    users = len(examples[1]["train"]["user"].drop_null().unique())
    (note,) = summary.pop("notes")
    assert note.startswith("labels of train: buy 0.4819, click 0.3115, seconds ")
    assert summary == {
        "rows": 5100,
        "columns": 15,
        "vocabulary": {"user": users, "tab": 3, "never": 0},
    }
    return output


def numbers(table, name):
    return table[name].drop_null().to_numpy().astype(np.float64)


def test_moments_are_those_of_the_train_split(examples, artifact):
    moments = json.loads((artifact / "moments.json").read_text())
    assert list(moments) == ["age", "spend"]
    for name, got in moments.items():
        column = examples[1]["train"][name]
        values = numbers(examples[1]["train"], name)
        log = np.log1p(values)
        want = {
            "count": len(values),
            "missing": column.null_count,
            "mean": values.mean(),
            "std": values.std(),
            "min": values.min(),
            "max": values.max(),
            "log1p_mean": log.mean(),
            "log1p_std": log.std(),
            "quantiles": np.quantile(values, np.linspace(0, 1, 1001)),
        }
        if name == "age":  # What its bins are made of.
            distinct = np.unique(values, return_counts=True)
            want |= dict(zip(("levels", "level_counts"), distinct, strict=True))
        assert got.keys() == want.keys()
        for key, value in want.items():
            np.testing.assert_allclose(got[key], value, rtol=1e-12, err_msg=key)


def test_vocabulary_counts_the_train_split_and_nothing_else(examples, artifact):
    names = {path.name for path in (artifact / "vocabulary").iterdir()}
    assert names == {"user", "tab", "never"}  # `city` is hashed
    for name in names:
        table = pq.read_table(artifact / "vocabulary" / name)
        assert table.schema.types == [pa.string(), pa.int64()]
        got = dict(zip(*table.to_pydict().values(), strict=True))
        assert len(got) == len(table)  # each value once
        counted = examples[1]["train"][name].drop_null().value_counts().to_pylist()
        assert got == {pair["values"]: pair["counts"] for pair in counted}


def test_label_rates_count_rows_in_the_space_only(examples, artifact):
    rates = json.loads((artifact / "label_rates.json").read_text())
    for split, table in examples[1].items():
        data = {name: table[name].to_pylist() for name in table.column_names}
        in_space = {
            "click": ("click", [True] * len(table)),
            "buy": ("bought", [value == 1 for value in data["click"]]),
            "seconds": ("seconds", [value == 1 for value in data["played"]]),
        }
        assert rates[split].keys() == {"*", "a", "b", "all", ""}
        for domain, tasks in rates[split].items():
            for task, (column, space) in in_space.items():
                labels = [
                    label
                    for label, there, tab in zip(
                        data[column], space, data["tab"], strict=True
                    )
                    if there and label is not None and domain in ("*", tab or "")
                ]
                assert tasks[task]["rows"] == len(labels)
                # Labels are read as float32.
                assert tasks[task]["mean"] == pytest.approx(np.mean(labels), rel=1e-6)


def test_a_label_of_one_value_goes_with_no_other():
    both, one = np.array([0.0, 1.0, 1.0]), np.ones(3)
    assert LabelPair.of(both, both).correlation == pytest.approx(1)
    for pair in ((both, one), (one, both)):
        assert LabelPair.of(*pair).correlation is None


def test_label_correlations_are_those_of_rows_that_count_for_both(examples, artifact):
    found = json.loads((artifact / "label_correlations.json").read_text())
    for split, table in examples[1].items():
        data = table.select(["click", "bought", "seconds", "played"]).to_pandas()
        # Labels are read as float32, and count in their space only.
        data = data.astype(np.float32)
        data["buy"] = data["bought"].where(data["click"] == 1)
        data["seconds"] = data["seconds"].where(data["played"] == 1)
        assert [pair["tasks"] for pair in found[split]] == [
            ["click", "buy"],
            ["click", "seconds"],
            ["buy", "seconds"],
        ]
        for pair in found[split]:
            both = data[pair["tasks"]].astype(np.float64).dropna()
            assert pair["rows"] == len(both) > 10
            want = both.corr().iloc[0, 1]
            if "buy" in pair["tasks"] and "click" in pair["tasks"]:
                assert pair["correlation"] is None  # all of its space was clicked
            else:
                assert pair["correlation"] == pytest.approx(want, abs=1e-9)


def test_label_rates_are_weighted_like_the_loss():
    tasks = [{"name": "click", "row_weight": "w"}]
    config = make_config(features=FEATURES, tasks=tasks, domain="tab")
    table = pa.table(
        {
            "tab": ["a", "a", "b", "a", None],
            "click": [1.0, 0.0, 1.0, None, 0.0],
            "w": [3.0, 1.0, 0.5, 9.0, None],
        }
    )
    parts = [SplitStatistics.of(batch, config) for batch in table.to_batches(2)]
    found = {
        domain: (labels.rows, labels.mean)
        for (domain, _), labels in SplitStatistics.merge(parts).labels.items()
    }
    assert found == {
        "*": (3, 3.5 / 4.5),
        "a": (2, 0.75),
        "b": (1, 1.0),
        "": (0, 0.0),
    }


@pytest.mark.parametrize(
    ("times", "extent"),
    [
        (pa.array([5, None, 3]), {"at": [3, 5]}),
        (pa.array(["5", "", "17"]), {"at": [5, 17]}),
        (pa.array(["1970-01-01T00:00:09", None, "?"]), {"at": [9, 9]}),
        (pa.array([2000], pa.timestamp("ms")), {"at": [2, 2]}),
        (pa.array(["?"]), {}),
    ],
)
def test_the_times_by_which_rows_are_split_have_an_extent(times, extent):
    data = {"split": {"by": "time", "column": "at"}}
    config = make_config(data, features=["user"], tasks=["click"])
    users = ["a"] * len(times)
    table = pa.table({"user": users, "at": times, "click": [1.0] * len(times)})
    parts = [SplitStatistics.of(batch, config) for batch in table.to_batches(1)]
    rows = analysis._rows(SplitStatistics.merge(parts))
    assert rows["times"] == extent
    for column in rows["columns"].values():
        column["type"] = "STRING"  # which needs no record
    proto = protos.statistics_proto("train", {("train", None): rows})
    _, columns = statistics_artifact.by_column(proto)
    found = [(s.name, s.num) for s in columns["at"].custom_stats]
    assert found == list(zip(("from", "to"), extent.get("at", ()), strict=False))
    assert not columns["user"].custom_stats


def test_feature_statistics_proto(examples, artifact):
    for split, table in examples[1].items():
        count, columns = statistics_artifact.read(artifact, split)
        assert count == len(table)
        assert list(columns) == table.column_names
        for name, stats in columns.items():
            common = statistics_artifact.common(stats)
            assert common.num_missing == table[name].null_count
            assert common.num_non_missing == len(table) - table[name].null_count
    kinds = {name: stats.WhichOneof("stats") for name, stats in columns.items()}
    assert kinds["at"] == kinds["new_user"] == kinds["age"] == "num_stats"
    assert kinds["user"] == kinds["watched"] == kinds["never"] == "string_stats"
    assert kinds["when"] == "bytes_stats"

    table = examples[1]["test"]
    # Of lists of lists all numbers count; [i, 2 i] is in row i.
    last = len(table) - 1
    grid = columns["grid"].num_stats
    assert (grid.mean, grid.max) == (pytest.approx(0.75 * last), 2 * last)
    values, stats = numbers(table, "age"), columns["age"].num_stats
    assert (stats.min, stats.median, stats.max) == tuple(
        np.quantile(values, [0, 0.5, 1])
    )
    counts, edges = np.histogram(values, 10)
    standard, levels = stats.histograms
    assert [bucket.sample_count for bucket in standard.buckets] == list(counts)
    np.testing.assert_allclose([b.low_value for b in standard.buckets], edges[:-1])
    assert levels.type == statistics_pb2.Histogram.QUANTILES
    assert len(levels.buckets) == 10
    assert columns["click"].num_stats.num_zeros == (numbers(table, "click") == 0).sum()

    user, strings = table["user"].drop_null(), columns["user"].string_stats
    assert strings.unique == len(user.unique())
    most = user.value_counts().to_pylist()
    most.sort(key=lambda pair: (-pair["counts"], pair["values"]))
    want = [(pair["values"], pair["counts"]) for pair in most[:100]]
    assert [(top.value, top.frequency) for top in strings.top_values] == want
    assert [b.label for b in strings.rank_histogram.buckets] == [v for v, _ in want]
    assert strings.avg_length == pytest.approx(np.mean([*map(len, user.to_pylist())]))

    sizes = [len(value) for value in table["watched"].to_pylist() if value is not None]
    common = columns["watched"].string_stats.common_stats
    assert (common.min_num_values, common.max_num_values) == (min(sizes), max(sizes))
    assert common.tot_num_values == sum(sizes)
    assert common.avg_num_values == pytest.approx(np.mean(sizes))


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_bytes_do_not_depend_on_how_work_is_divided(examples, tmp_path, monkeypatch):
    write(tmp_path / "examples", examples[1], shards=1)
    monkeypatch.setattr(analysis, "BATCH_ROWS", 500)
    monkeypatch.setattr(analysis, "_RANGE", 500)
    generate(CONFIG, tmp_path / "examples", tmp_path / "one")
    # The same batches, but more of them are merged early, and by two threads.
    monkeypatch.setattr(analysis, "_RANGE", 2000)
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    beam = CONFIG.beam.model_copy(update={"flags": flags})
    other = CONFIG.model_copy(update={"beam": beam})
    generate(other, tmp_path / "examples", tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def transforms(count, folder, monkeypatch):
    """How many Beam transforms each job has, from logs to records."""
    kinds = {"numeric": list(range(400)), "categorical": ["a", "b", "c", None] * 100}
    features = [
        {"name": f"f{i}", "kind": "numeric" if i % 10 else "categorical"}
        for i in range(count)
    ]
    columns = {feature["name"]: kinds[feature["kind"]] for feature in features}
    table = pa.table(columns | {"user": list(range(400)), "click": [0, 1] * 200})
    folder.mkdir()
    pq.write_table(table, folder / "log.parquet")
    data = {"logs": [str(folder / "*.parquet")]}
    config = make_config(data, features, workspace=str(folder / "work"))
    jobs, run_job = [], beam.Pipeline.run

    def remember(job, *args, **kwargs):
        jobs.append(len(job.to_runner_api().components.transforms))
        return run_job(job, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(beam.Pipeline, "run", remember)
        run(config, until="Transform", report=lambda line: None)
    return jobs


def test_stages_do_not_grow_with_the_features(tmp_path, monkeypatch):
    few = transforms(2, tmp_path / "few", monkeypatch)
    assert len(few) >= 3  # of ExampleGen, StatisticsGen and Transform
    assert transforms(20, tmp_path / "many", monkeypatch) == few


def test_a_worker_holds_a_part_of_a_vocabulary():
    values = StringStatistics.of(pa.array([f"user-{i}" for i in range(40_000)]))
    parts = dict(values.buckets(32))
    assert sum(map(len, parts.values())) == 40_000
    assert max(map(len, parts.values())) < 1.2 * 40_000 / 32
    sent = sum(len(pickle.dumps(part)) for part in parts.values())
    assert sent < 1.1 * len(pickle.dumps(values))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(-4000, 4000, 50_000) / 8,
        np.array([0.0, -0.0, 1e300, -1e300, 5e-324, np.pi]),
        np.array([7.0]),
        np.repeat([0.0, 1.0], [9000, 3]),
    ],
    ids=["8000 distinct values", "extremes", "one value", "two values"],
)
def test_quantiles_of_few_distinct_values_are_exact(values):
    parts = [quantiles.sketch(part) for part in np.array_split(values, 3)]
    got = quantiles.quantiles(quantiles.merge(parts), 100)
    want = np.quantile(values, np.linspace(0, 1, 101))
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-300)


def test_quantiles_of_many_distinct_values_are_close():
    values = np.exp(2 * np.random.default_rng(0).standard_normal(200_000))
    parts = [quantiles.sketch(part) for part in np.array_split(values, 7)]
    sketch = quantiles.merge(parts)
    assert len(sketch.count) <= quantiles.BUCKETS
    got = quantiles.quantiles(sketch, 1000)
    want = np.quantile(values, np.linspace(0, 1, 1001))
    np.testing.assert_allclose(got, want, rtol=2e-3)
    rank = np.searchsorted(np.sort(values), got) / len(values)
    np.testing.assert_allclose(rank, np.linspace(0, 1, 1001), atol=2e-4)
    assert (got[0], got[-1]) == (values.min(), values.max())


def test_zero_has_no_sign():
    zeros = quantiles.sketch(np.array([-0.0, 0.0, -0.0]))
    assert zeros.count.tolist() == [3]
    assert str(quantiles.quantiles(zeros, 1)) == "[0. 0.]"


def test_quantiles_of_nothing():
    nothing = quantiles.sketch(np.array([]))
    assert (
        quantiles.quantiles(quantiles.merge([nothing, nothing]), 4).tolist() == [0] * 5
    )
    seven = quantiles.merge([nothing, quantiles.sketch(np.array([7.0]))])
    assert quantiles.quantiles(seven, 1).tolist() == [7, 7]


@settings(max_examples=60)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(st.integers(0, 100), max_size=6),
    st.randoms(),
)
def test_a_sketch_depends_on_the_values_alone(values, cuts, shuffler):
    # Few buckets, so that they must be joined again and again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "BUCKETS", 5)
        whole = quantiles.sketch(np.array(values))
        shuffler.shuffle(values)
        parts = [
            quantiles.sketch(part)
            for part in np.split(
                np.array(values), sorted(c % len(values) for c in cuts)
            )
        ]
        while len(parts) > 1:
            parts = [quantiles.merge(parts[:2]), *parts[2:]]
            shuffler.shuffle(parts)
        assert parts[0].shift == whole.shift
        for name in ("prefix", "count", "low", "high"):
            got, want = getattr(parts[0], name), getattr(whole, name)
            np.testing.assert_array_equal(got, want)
        assert len(whole.count) <= 5
        assert whole.rows == len(values)


def test_moments_keep_the_digits_of_large_numbers():
    # Milliseconds since 1970 that differ by a few: x^2 alone has no digits for that.
    values = 1.7e12 + np.random.default_rng(0).integers(0, 5, 10_000)
    parts = [Moments.of(part) for part in np.array_split(values, 11)]
    got = Moments.merge(parts)
    assert got.mean == pytest.approx(statistics.fmean(values), rel=1e-15)
    assert got.std == pytest.approx(statistics.pstdev(values.tolist()), rel=1e-12)
    random.Random(0).shuffle(parts)
    assert Moments.merge([Moments.merge(parts[:4]), *parts[4:]]) == got


def test_numbers_that_are_none(examples, tmp_path):
    """All missing, infinite and constant numeric features still give finite moments."""
    table = examples[1]["test"]
    count = len(table)
    spend = np.r_[np.inf, -np.inf, np.nan, 1e39, np.full(count - 4, 2.0)]
    table = table.set_column(4, "age", pa.nulls(count, pa.float64()))
    table = table.set_column(5, "spend", pa.array(spend))
    write(tmp_path / "examples", dict.fromkeys(("train", "valid", "test"), table))
    generate(CONFIG, tmp_path / "examples", tmp_path / "out")
    moments = json.loads((tmp_path / "out" / "moments.json").read_text())
    assert moments["age"]["count"] == 0
    assert moments["age"]["missing"] == count
    assert {moments["age"][key] for key in ("mean", "std", "min", "max")} == {0}
    spend = moments["spend"]
    assert (spend["count"], spend["missing"]) == (count - 4, 1)
    assert (spend["mean"], spend["std"], spend["max"]) == (2, 0, 2)
    stats = statistics_artifact.read(tmp_path / "out", "train")[1]["spend"].num_stats
    assert (stats.min, stats.max) == (-np.inf, np.inf)
    assert stats.histograms[0].num_nan == 1


def test_a_split_without_rows_is_an_error(examples, tmp_path):
    tables = examples[1] | {"valid": examples[1]["valid"][:0]}
    write(tmp_path / "examples", tables)
    with pytest.raises(PipelineError, match="Received none in: valid"):
        generate(CONFIG, tmp_path / "examples", tmp_path / "out")


def test_schema(artifact, tmp_path):
    summary = schema_gen.schema_gen(
        CONFIG, {"statistics": artifact}, {"schema": tmp_path}
    )
    assert summary == {"rows": 4000, "columns": 15, "enums": 3}
    schema = {
        feature.name: feature for feature in schema_artifact.read(tmp_path).feature
    }
    assert schema["tab"].string_domain.value == ["a", "all", "b"]
    assert schema["city"].presence.min_fraction == 1
    assert schema["tab"].presence.min_fraction == 0
    assert not schema["user"].HasField("string_domain")  # too many values
    assert schema["at"].type == schema_pb2.INT
    assert (schema["bought"].float_domain.min, schema["bought"].float_domain.max) == (
        0,
        1,
    )
    assert schema["seconds"].float_domain.disallow_inf
    assert not schema["seconds"].float_domain.HasField("max")
    assert schema["user"].value_count.max == 1
    assert not schema["watched"].value_count.HasField("max")
    assert schema["never"].presence.min_count == 0
