"""The page of the data: what is wrong first, then what each column holds."""

import functools
import re
from types import SimpleNamespace

import numpy as np
import pages
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.report import statistics

SPLITS = ("train", "valid", "test")


def _numbers(values, missing=0):
    """What StatisticsGen makes of finite numbers."""
    values = np.asarray(values, float)
    stats = statistics_pb2.FeatureNameStatistics(type="FLOAT")
    found = stats.num_stats
    found.common_stats.num_missing = missing
    found.common_stats.num_non_missing = len(values)
    found.common_stats.tot_num_values = len(values)
    found.mean, found.std_dev = values.mean(), values.std()
    found.min, found.max = values.min(), values.max()
    found.median = float(np.median(values))
    found.num_zeros = int(np.sum(values == 0))
    stats.custom_stats.add(name="num_ones", num=int(np.sum(values == 1)))
    deciles = np.quantile(values, np.linspace(0, 1, 11))
    counts, edges = np.histogram(values, 10)
    for type_, ends, heights in (
        (statistics_pb2.Histogram.STANDARD, edges, counts),
        (statistics_pb2.Histogram.QUANTILES, deciles, [len(values) / 10] * 10),
    ):
        histogram = found.histograms.add(type=type_)
        for low, high, count in zip(ends, ends[1:], heights, strict=False):
            histogram.buckets.add(low_value=low, high_value=high, sample_count=count)
    return stats


def _texts(counts):
    stats = statistics_pb2.FeatureNameStatistics(type="STRING")
    found, total = stats.string_stats, sum(counts.values())
    found.common_stats.num_non_missing = total
    found.common_stats.tot_num_values = total
    found.common_stats.avg_num_values = 1
    found.unique = len(counts)
    for value, count in counts.items():
        found.top_values.add(value=value, frequency=count)
    return stats


def _page(columns, findings=(), drifts=None, tasks=("click", "buy"), **more):
    """The page of the same columns in all splits."""
    rates = {task: {"rows": 90, "mean": 0.25} for task in tasks}
    domains = {value: rates for value in ("*", *pages.ODD)}
    pairs = [
        {"tasks": [a, b], "rows": 90, "correlation": -0.123}
        for i, a in enumerate(tasks)
        for b in tasks[i + 1 :]
    ]
    arguments = {
        "name": "shop",
        "splits": {split: (100, columns) for split in SPLITS},
        "rates": {split: domains for split in SPLITS},
        "correlations": {"train": pairs},
        "findings": list(findings),
        "drifts": drifts or {},
        "features": list(columns)[:3],
        "domain": "tab",
    }
    return statistics.render(**{**arguments, **more})


@functools.cache
def page_of_odd_data():
    random = np.random.default_rng(0)
    columns = {
        "age": _numbers(random.normal(40, 9, 900), missing=100),
        "price in $": _numbers(random.lognormal(3, 4, 900)),
        "tab": _texts({value: 100 - i for i, value in enumerate(pages.ODD)}),
        "constant": _numbers(np.full(50, 3.5)),
        "flag": _numbers([0.0, 1.0, 1.0]),
        "request": _texts({f"r{i}": 1 for i in range(5000)}),
        "empty": statistics_pb2.FeatureNameStatistics(
            type="STRING", string_stats=statistics_pb2.StringStatistics()
        ),
    }
    drifts = {
        "from train to test": {
            "limit": 0.3,
            "features": {
                "age": {"missing": 0.0, "values": 0.05},
                "tab": {"missing": 0.125, "values": 0.45},
            },
        }
    }
    return _page(columns, [("WARNING", "Column 'tab' moved")], drifts)


@pytest.fixture(scope="module")
def odd():
    return page_of_odd_data()


def _titles(page):
    return re.findall('aria-label="([^"]*)"', page)


def test_a_page_needs_nothing_else(odd):
    assert "http" not in odd and "<script" not in odd
    assert "<b>odd</b>" not in odd and "&lt;b&gt;odd&lt;/b&gt;" in odd


def test_what_has_no_distribution_has_no_chart(odd):
    assert _titles(odd) == ["age", "price in $", "tab", "constant"]
    for column in ("flag", "request", "empty"):
        assert f"<td>{column}" in odd  # it is in a table all the same


def test_values_far_apart_are_cumulated(odd):
    chart = odd[odd.index('aria-label="price in $"') :].split("</svg>")[0]
    assert "share of values up to it" in chart
    chart = odd[odd.index('aria-label="age"') :].split("</svg>")[0]
    assert "share of values per" in chart


def test_what_moved_too_far_stands_first_and_is_marked(odd):
    drift = odd.split('id="drift"')[1].split("</table>")[0]
    assert drift.index("<td>tab") < drift.index("<td>age")
    assert '<td class="down">▲ 0.450' in drift and "missing 0.125" in drift
    assert "<td>0.050" in drift


def test_errors_and_warnings():
    columns = {"age": _numbers([1.0, 2.0])}
    findings = [("WARNING", "it moved"), ("ERROR", "it is not there")]
    page = _page(columns, findings)
    assert "✗ the examples cannot be trained on" in page and "1 errors" in page
    assert page.index("it is not there") < page.index("it moved")
    assert "✓ the examples can be trained on" in _page(columns)


def test_label_rates_and_correlations(odd):
    labels = odd.split('id="labels"')[1]
    assert "<td>click</td><td>90</td><td>0.2500<small>valid 0.2500" in labels
    assert "−0.123" in labels


@pytest.mark.parametrize(
    ("rows", "r", "red"), [(90, -0.123, 0), (900, -0.123, 2), (900, 0.123, 0)]
)
def test_only_a_correlation_that_is_no_chance_is_red(rows, r, red):
    pairs = [{"tasks": ["click", "buy"], "rows": rows, "correlation": r}]
    page = _page({"age": _numbers([1.0, 2.0])}, correlations={"train": pairs})
    table = page.split("Correlation of labels")[1].split("</table>")[0]
    assert table.count('class="down"') == red


def test_many_tasks_are_shown_by_their_strongest_pairs():
    tasks = [f"t{i}" for i in range(30)]
    page = _page({"age": _numbers([1.0, 2.0])}, tasks=tasks)
    assert "the strongest pairs" in page and page.count("−0.123") == 40


def test_a_column_that_only_some_splits_have():
    columns = {"age": _numbers([1.0, 2.0, 5.0]), "new": _texts({"a": 3})}
    splits = {split: (3, columns) for split in SPLITS}
    splits["test"] = (3, {"age": columns["age"]})
    page = _page(columns, splits=splits)
    assert _titles(page) == ["age", "new"]


def test_histograms_of_other_ranges_can_be_compared():
    wide, narrow = np.linspace(0, 100, 1001), np.linspace(0, 10, 1001)
    stats = {"train": _numbers(wide), "test": _numbers(narrow)}
    seen = {}

    def steps(title, x, y, series):
        seen.update(series)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics.charts, "steps", steps)
        statistics._distribution("age", stats)
    areas = {
        split: sum(height * (edges[1] - edges[0]) for height in heights)
        for split, (edges, heights) in seen.items()
    }
    assert areas["train"] == pytest.approx(areas["test"]) == pytest.approx(10)


def test_charts_that_are_not_shown_are_not_drawn(monkeypatch):
    drawn, chart = [], statistics._chart
    monkeypatch.setattr(statistics, "MOST_CHARTS", 2)
    done = []
    monkeypatch.setattr(
        statistics, "_chart", lambda c, found: drawn.append(c) or chart(c, found)
    )
    columns = {name: _texts({"x": 3, "y": 2}) for name in "abc"}
    _page(columns, done=SimpleNamespace(add=done.append))
    assert drawn == ["a", "b"] and done == [1, 1]
