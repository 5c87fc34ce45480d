"""The page that shows what the data hold: distributions, labels, anomalies, drift."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics

from pipeline.artifacts.layout import ALL_DOMAINS
from pipeline.artifacts.statistics import common
from pipeline.progress import NOWHERE, Done
from pipeline.report import charts, page
from pipeline.report.svg import Chart

_DOMAINS = 8  # columns of the table of label rates
MOST_CHARTS = 120  # columns with a chart
_TOP = 10  # values of a bar chart
_RARE = 0.001  # share of the most frequent value of a column of ids, each its own
_STEEP = 0.8  # share of rows in one bar of a histogram, which then shows nothing
_BY_CHANCE = 1.96  # standard errors, 1 / sqrt(rows), of a correlation of 0
_LARGE = 20  # tasks, up to which correlations are a table of all by all

Splits = Mapping[str, tuple[int, Mapping[str, FeatureNameStatistics]]]


def render(
    name: str,
    splits: Splits,
    rates: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
    correlations: Mapping[str, Sequence[Mapping]],
    findings: Sequence[tuple[str, str]],
    drifts: Mapping[str, Mapping],
    features: Sequence[str],
    domain: str | None,
    done: Done = NOWHERE,
) -> str:
    """Returns the page.

    Args:
        name: Of the pipeline.
        splits: {split: (rows, {column: statistics})}.
        rates: What StatisticsGen writes as label_rates.json.
        correlations: What it writes as label_correlations.json.
        findings: (severity, text) of each anomaly.
        drifts: {from where to where: {"limit", "features": {feature: {"missing",
            "values"}}}}, distances from 0 to 1.
        features: The columns that the model reads, which come first.
        domain: The column of the domains.
        done: Counts the columns that are drawn, at most `MOST_CHARTS`.
    """
    known = splits["train"][1]
    columns = [c for c in features if c in known]
    columns += [c for c in known if c not in columns]
    by_split = {
        column: {
            s: found[column] for s, (_, found) in splits.items() if column in found
        }
        for column in columns
    }
    drawn = []
    for column in columns[:MOST_CHARTS]:
        if chart := _chart(column, by_split[column]):
            drawn.append((column, chart))
        done.add(1)
    return page.render(
        "statistics",
        name=name,
        splits={split: rows for split, (rows, _) in splits.items()},
        findings=sorted(findings, key=lambda found: found[0] != "ERROR"),
        drifts=drifts,
        moved=_moved(drifts, features),
        domain=domain,
        rates=_rates(rates),
        correlations=_correlations(correlations["train"]),
        charts=drawn,
        hidden=max(len(columns) - MOST_CHARTS, 0),
        numbers=[
            _numbers(c, by_split[c], c in features) for c in columns if _is(c, known)
        ],
        texts=[
            _texts(c, by_split[c], c in features) for c in columns if not _is(c, known)
        ],
    )


def _is(column: str, known: Mapping[str, FeatureNameStatistics]) -> bool:
    """Whether a column holds numbers."""
    return known[column].HasField("num_stats")


def _chart(column: str, stats: Mapping[str, FeatureNameStatistics]) -> Chart | None:
    """The distribution in each split; None where there is nothing to draw."""
    kinds = {found.WhichOneof("stats") for found in stats.values()}
    filled = {s: found for s, found in stats.items() if common(found).tot_num_values}
    if len(kinds) > 1 or not filled:
        return None
    if kinds == {"num_stats"}:
        zeros_and_ones = all(map(_is_binary, filled.values()))  # such as labels
        return None if zeros_and_ones else _distribution(column, filled)
    if kinds == {"string_stats"}:
        return _top_values(column, filled)
    return None


def _is_binary(stats: FeatureNameStatistics) -> bool:
    ones = sum(s.num for s in stats.custom_stats if s.name == "num_ones")
    return stats.num_stats.num_zeros + ones >= common(stats).tot_num_values


def _distribution(
    column: str, stats: Mapping[str, FeatureNameStatistics]
) -> Chart | None:
    """A histogram; for values far apart, the share of rows up to each value."""
    outlines, cumulated = {}, {}
    for split, found in stats.items():
        standard, deciles = (_edges(h) for h in found.num_stats.histograms[:2])
        counts = [b.sample_count for b in found.num_stats.histograms[0].buckets]
        if not sum(counts) or not all(map(math.isfinite, standard + deciles)):
            continue
        cumulated[split] = [(value, i / 10) for i, value in enumerate(deciles)]
        if standard[0] < standard[-1]:
            outlines[split] = standard, [count / sum(counts) for count in counts]
    if not cumulated:
        return None
    if not outlines or max(next(iter(outlines.values()))[1]) >= _STEEP:
        y = "share of values up to it"
        return charts.lines(column, column, y, cumulated, markers=True, log=True)
    # Bars of other widths are made comparable: areas are shares.
    width = _width(next(iter(outlines.values()))[0])
    return charts.steps(
        column,
        column,
        f"share of values per {page.compact(width)}",
        {
            split: (edges, [height * width / _width(edges) for height in heights])
            for split, (edges, heights) in outlines.items()
        },
    )


def _edges(histogram: statistics_pb2.Histogram) -> list[float]:
    buckets = histogram.buckets
    return [b.low_value for b in buckets[:1]] + [b.high_value for b in buckets]


def _width(edges: Sequence[float]) -> float:
    return edges[1] - edges[0]


def _top_values(
    column: str, stats: Mapping[str, FeatureNameStatistics]
) -> Chart | None:
    """The most frequent values of the train split, and their share in each split.

    None where each row has its own value.
    """
    if "train" not in stats:
        return None
    first = stats["train"].string_stats.top_values
    values = [top.value for top in first[:_TOP]]
    if not values or first[0].frequency < _RARE * common(stats["train"]).tot_num_values:
        return None
    shares = {}
    for split, found in stats.items():
        counts = {top.value: top.frequency for top in found.string_stats.top_values}
        total = common(found).tot_num_values
        shares[split] = ([counts.get(value, 0) / total for value in values], None)
    return charts.bars(column, "share of values", values, shares)


def _share_missing(stats: FeatureNameStatistics) -> float:
    found = common(stats)
    return found.num_missing / max(found.num_missing + found.num_non_missing, 1)


def _numbers(
    column: str, stats: Mapping[str, FeatureNameStatistics], is_feature: bool
) -> dict[str, Any]:
    train = stats["train"].num_stats
    seen = max(common(stats["train"]).tot_num_values, 1)
    return {
        "column": column,
        "is_feature": is_feature,
        "missing": [_share_missing(found) for found in stats.values()],
        "zeros": train.num_zeros / seen,
        "levels": [train.mean, train.std_dev, train.min, train.median, train.max],
    }


def _texts(
    column: str, stats: Mapping[str, FeatureNameStatistics], is_feature: bool
) -> dict[str, Any]:
    train = stats["train"]
    found, total = train.string_stats, max(common(train).tot_num_values, 1)
    return {
        "column": column,
        "is_feature": is_feature,
        "missing": [_share_missing(each) for each in stats.values()],
        "distinct": found.unique if train.HasField("string_stats") else None,
        "values": common(train).avg_num_values,
        "top": [(v.value, v.frequency / total) for v in found.top_values[:3]],
    }


def _rates(rates: Mapping) -> dict[str, Any]:
    """Rows tasks, columns domains, each cell the mean label in every split."""
    train = rates["train"]
    sizes = {
        domain: max(found["rows"] for found in tasks.values())
        for domain, tasks in train.items()
        if domain != ALL_DOMAINS
    }
    shown, hidden = page.largest(sizes, _DOMAINS)
    return {
        "domains": shown,
        "hidden": hidden,
        "rows": [
            (
                task,
                train[ALL_DOMAINS][task]["rows"],
                [
                    [
                        (split, rates[split].get(domain, {}).get(task, {}).get("mean"))
                        for split in rates
                    ]
                    for domain in (ALL_DOMAINS, *shown)
                ],
            )
            for task in train[ALL_DOMAINS]
        ],
    }


def _correlations(pairs: Sequence[Mapping]) -> dict[str, Any]:
    """All tasks by all; of many tasks, the strongest pairs."""
    tasks = list(dict.fromkeys(task for pair in pairs for task in pair["tasks"]))
    found = {tuple(pair["tasks"]): pair["correlation"] for pair in pairs}
    if len(tasks) > _LARGE:
        known = [pair for pair in pairs if pair["correlation"] is not None]
        strongest = sorted(known, key=lambda pair: -abs(pair["correlation"]))
        return {"tasks": [], "rows": [], "pairs": strongest[: 2 * _LARGE]}
    # Two tasks at odds: below 0 by more than the chance of so many rows.
    at_odds = {
        tuple(sorted(pair["tasks"]))
        for pair in pairs
        if (r := pair["correlation"]) is not None
        and r < -_BY_CHANCE / math.sqrt(pair["rows"])
    }
    rows = [
        (
            a,
            [
                (
                    1.0 if a == b else found.get((a, b), found.get((b, a))),
                    tuple(sorted((a, b))) in at_odds,
                )
                for b in tasks
            ],
        )
        for a in tasks
    ]
    return {"tasks": tasks, "rows": rows, "pairs": []}


def _moved(drifts: Mapping[str, Mapping], features: Sequence[str]) -> list:
    """(feature, [(distances or None, whether it is too far)]), the farthest first."""
    rows = []
    for feature in features:
        found = [drift["features"].get(feature) for drift in drifts.values()]
        far = [
            each is not None and max(each.values()) > drift["limit"]
            for each, drift in zip(found, drifts.values(), strict=True)
        ]
        if any(found):
            rows.append((feature, list(zip(found, far, strict=True))))
    return sorted(rows, key=lambda row: -max(max(d.values()) for d, _ in row[1] if d))
