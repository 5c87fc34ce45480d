"""ExampleValidator: are these examples fit to train on, and like those before?

Errors stop the pipeline: the schema's columns must be there with their types, hold
values, and hold only what the schema allows. Warnings do not: new columns, labels of
one class or of another rate than in train, values that only valid or test have, drift
from train to the other splits and from the previous run to this one, skew between train
and the rows that a server was asked for (`validation.served`).

Drift and skew are measured on the features of the model, and count beyond what chance
brings about in so few rows; see `drift`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from pipeline import progress
from pipeline.artifacts import layout
from pipeline.artifacts import schema as schema_artifact
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_validator import drift, served_statistics
from pipeline.config import Config, Task
from pipeline.errors import PipelineError
from pipeline.report import statistics as statistics_page
from pipeline.statistics.protos import statistics_proto
from pipeline.statistics.splits import ALL

Info = anomalies_pb2.AnomalyInfo
Columns = Mapping[str, statistics_pb2.FeatureNameStatistics]


_SHOWN = 5  # findings of a kind in the run's own lines
# A label's rate has shifted if it differs by so many standard errors, and by so much.
_ERRORS, _RATIO = 5, 1.25


class Finding(NamedTuple):
    """One thing that is not as expected."""

    severity: int  # of AnomalyInfo
    column: str
    type: int  # of AnomalyInfo
    text: str


def example_validator(
    config: Config,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    page: bool = True,
) -> dict:
    """Writes what is wrong with the examples to `anomalies`, and the statistics page.

    Args:
        config: The pipeline's config.
        inputs: "statistics", "schema" and, if there was one, the
            "previous_statistics" of the last successful run.
        outputs: "anomalies".
        page: Whether the page is drawn, which takes most of the time.

    Returns:
        {"rows", "warnings": [text], "notes": where the page is}.

    Raises:
        PipelineError: With all errors, after they were written.
    """
    schema = schema_artifact.read(inputs["schema"])
    splits = {
        split: statistics_artifact.read(inputs["statistics"], split) for split in SPLITS
    }
    findings = [
        finding
        for split, (_, columns) in splits.items()
        for finding in _against_schema(config, schema, split, columns)
    ]
    rates = json.loads((inputs["statistics"] / layout.LABEL_RATES).read_text())
    findings += _labels(config, rates)
    train = splits["train"][1]
    drifts = {
        f"from train to {split}": _drift(config, train, splits[split][1])
        for split in ("valid", "test")
    }
    if "previous_statistics" in inputs:
        _, previous = statistics_artifact.read(inputs["previous_statistics"], "train")
        drifts["from the previous run to this one"] = _drift(config, previous, train)
    if config.validation.served:
        records = served_statistics.analyze(config, outputs["anomalies"])
        proto = statistics_proto("served", records)
        _, asked = statistics_artifact.by_column(proto)
        skew = _drift(config, train, asked) | {"limit": config.validation.skew}
        drifts["from train to the served rows"] = skew
    findings += _moved(drifts)
    _write(outputs["anomalies"], schema, findings)
    (outputs["anomalies"] / layout.DRIFT).write_text(
        json.dumps(drifts, indent=1) + "\n"
    )
    where = outputs["anomalies"] / layout.STATISTICS_PAGE
    if page:
        correlations = inputs["statistics"] / layout.LABEL_CORRELATIONS
        charts = min(len(train), statistics_page.MOST_CHARTS)
        with progress.counting(
            charts, outputs["anomalies"], "draws the page", "charts"
        ) as done:
            text = statistics_page.render(
                config.name,
                splits,
                rates,
                json.loads(correlations.read_text()),
                [(Info.Severity.Name(f.severity), f.text) for f in findings],
                drifts,
                features=[feature.name for feature in config.features],
                domain=config.domain,
                done=done,
            )
        where.write_text(text)
    errors = [f.text for f in findings if f.severity == Info.ERROR]
    if errors:
        raise PipelineError(
            "\n - ".join(["The examples cannot be trained on:", *errors])
        )
    return {
        "rows": sum(rows for rows, _ in splits.values()),
        "warnings": list(_summed(findings)),
        "notes": [f"statistics: {where}"] if page else [],
    }


def _used(config: Config) -> set[str]:
    """The columns that a model is trained with."""
    return {column for _, column, type_ in config.columns() if type_ != "any"}


def _types(columns: Columns) -> dict[str, int]:
    return {name: schema_artifact.type_of(stats) for name, stats in columns.items()}


def _columns(
    config: Config, expected: Mapping[str, int], found: Mapping[str, int], where: str
) -> Iterator[Finding]:
    """Columns that went, came, or changed their type."""
    used, name_of = _used(config), schema_pb2.FeatureType.Name
    for column, type_ in expected.items():
        severity = Info.ERROR if column in used else Info.WARNING
        if column not in found:
            text = f"Column {column!r} of the {where} is not in the examples."
            yield Finding(severity, column, Info.SCHEMA_MISSING_COLUMN, text)
        elif found[column] != type_:
            text = f"Column {column!r} must be {name_of(type_)}, as in the {where}. "
            text += f"Received: {name_of(found[column])}."
            yield Finding(severity, column, Info.UNEXPECTED_DATA_TYPE, text)
    for column in found:
        if column not in expected:
            text = f"Column {column!r} is new: the {where} does not have it."
            yield Finding(Info.WARNING, column, Info.SCHEMA_NEW_COLUMN, text)


def _against_schema(
    config: Config, schema: schema_pb2.Schema, split: str, columns: Columns
) -> Iterator[Finding]:
    expected = {feature.name: feature.type for feature in schema.feature}
    where = f"schema ({split} split)"
    yield from _columns(config, expected, _types(columns), where)
    used = _used(config)
    classes = {t.label_column for t in config.tasks if t.kind == "classes"}
    times = set(config.data.split.columns) if config.data.split.by == "time" else ()
    for feature in schema.feature:
        stats = columns.get(feature.name)
        if stats is None or schema_artifact.type_of(stats) != feature.type:
            continue
        if statistics_artifact.common(stats).num_non_missing:
            is_class = feature.name in classes
            checks = [*_presence(feature, stats), *_numbers(feature, stats, is_class)]
            if feature.name not in times:  # other rows have other times
                checks += _strings(feature, stats)
            for severity, type_, text in checks:
                text = f"Column {feature.name!r} ({split} split) {text}"
                yield Finding(severity, feature.name, type_, text)
        elif feature.name in used or feature.presence.min_count:
            severity = Info.ERROR if feature.name in used else Info.WARNING
            text = f"Column {feature.name!r} has no value in the {split} split. "
            text += _of_table(config, feature.name)
            text += "Mend the logs, or leave the column out of the config."
            yield Finding(severity, feature.name, Info.FEATURE_TYPE_NOT_PRESENT, text)


def _of_table(config: Config, column: str) -> str:
    """What is to be said of a column without a value that a table should give."""
    source = {f.name: f.source for f in config.raw_features}.get(column, column)
    for table in config.data.tables:
        if source.startswith(f"{table.name}."):
            keys = " and ".join(table.key)
            return (
                f"It is of table {table.name!r}: either it is empty there, or no row "
                f"of the split has a key that the table has ({keys}). "
            )
    return ""


def _presence(feature, stats) -> Iterator[tuple[int, int, str]]:
    common = statistics_artifact.common(stats)
    share = common.num_non_missing / (common.num_non_missing + common.num_missing)
    if share < feature.presence.min_fraction:
        yield (
            Info.WARNING,
            Info.FEATURE_TYPE_LOW_FRACTION_PRESENT,
            f"should have a value in {feature.presence.min_fraction:.2%} of the rows. "
            f"Received: {common.num_missing} rows without, {share:.2%} with one.",
        )
    if feature.value_count.max and common.max_num_values > feature.value_count.max:
        yield (
            Info.ERROR,
            Info.FEATURE_TYPE_HIGH_NUMBER_VALUES,
            f"must have at most {feature.value_count.max} values a row. Received: "
            f"{common.max_num_values}.",
        )


def _numbers(feature, stats, is_class) -> Iterator[tuple[int, int, str]]:
    domain, number = feature.float_domain, stats.num_stats
    received = f"Received: values from {number.min:g} to {number.max:g}"
    if domain.disallow_inf and not np.isfinite([number.min, number.max]).all():
        seen, buckets = _seen(number), number.histograms[0].buckets
        infinite = seen - sum(bucket.sample_count for bucket in buckets)
        yield (
            Info.ERROR,
            Info.FLOAT_TYPE_HAS_INF,
            f"must be finite in float32. Received: {infinite:.0f} of {seen} values are "
            "not. Mend the logs, or leave such rows out by `data.where`.",
        )
    low = domain.HasField("min") and number.min < domain.min
    high = domain.HasField("max") and number.max > domain.max
    broken = low or high
    custom = {s.name: int(s.num) for s in stats.custom_stats}
    if is_class:
        seen, fractions = _seen(number), custom["num_fractions"]
        text = (
            f"must hold a class from 0 to {domain.max:g}. {received}; {fractions} of "
            f"{seen} are no whole number. Mend the logs, or correct how many classes "
            "the task has."
        )
        broken = broken or fractions > 0
    elif (domain.min, domain.max) == (0, 1):  # a binary label
        seen = _seen(number)
        others = seen - number.num_zeros - custom["num_ones"]
        rule = "must hold nothing but 0 and 1, as the label of a binary task"
        text = (
            f"{rule}. {received}; {others} of {seen} are neither. Mend the logs, or "
            "declare the task with `kind: regression`."
        )
        broken = others > 0
    else:
        text = f"must {_bounds(domain)}. {received}."
    if broken:
        small = Info.FLOAT_TYPE_SMALL_FLOAT
        yield Info.ERROR, small if low else Info.FLOAT_TYPE_BIG_FLOAT, text


def _bounds(domain) -> str:
    if not domain.HasField("max"):
        return f"be >= {domain.min:g}"
    if not domain.HasField("min"):
        return f"be <= {domain.max:g}"
    return f"lie between {domain.min:g} and {domain.max:g}"


def _seen(number) -> int:
    """How many numbers there are, without NaN."""
    return int(number.common_stats.tot_num_values - number.histograms[0].num_nan)


def _strings(feature, stats) -> Iterator[tuple[int, int, str]]:
    known, shares = set(feature.string_domain.value), drift.shares(stats)
    new = [value for value in shares if value not in known]
    if known and new:
        yield (
            Info.WARNING,
            Info.ENUM_TYPE_UNEXPECTED_STRING_VALUES,
            f"has values that the schema does not know: {', '.join(map(repr, new[:5]))}"
            f"{' ...' if new[5:] else ''}, "
            f"{sum(shares[v] for v in new):.2%} of all.",
        )


def _labels(config: Config, rates: Mapping) -> Iterator[Finding]:
    """Tasks that cannot be trained or measured for want of labels."""
    for split, domains in rates.items():
        for task in config.tasks:
            seen = domains[ALL][task.name]
            where = f"Task {task.name!r} ({split} split)"
            severity, type_ = Info.WARNING, Info.FEATURE_TYPE_LOW_UNIQUE
            if not seen["rows"]:
                severity = Info.ERROR if split == "train" else Info.WARNING
                type_ = Info.FEATURE_TYPE_NOT_PRESENT
                text = "no row has a label and is in the task's space "
                text += f"({task.space or 'all rows'})."
            elif task.kind == "binary" and seen["mean"] in (0, 1):
                text = f"the label is {seen['mean']:.0f} in all {seen['rows']} rows; "
                text += "there is nothing to tell apart."
            elif text := _shift(task, rates["train"][ALL][task.name], seen):
                type_ = Info.COMPARATOR_L_INFTY_HIGH
            else:
                continue
            yield Finding(severity, task.label_column, type_, f"{where}: {text}")


def _shift(task: Task, train: Mapping, seen: Mapping) -> str:
    """What is to be said of a rate far from that of train; "" of any other."""
    if task.kind != "binary" or not train["rows"]:
        return ""
    before, now = train["mean"], seen["mean"]
    mean = (before * train["rows"] + now * seen["rows"]) / (
        train["rows"] + seen["rows"]
    )
    if not 0 < mean < 1:  # labels out of range are told elsewhere
        return ""
    error = math.sqrt(mean * (1 - mean) * (1 / train["rows"] + 1 / seen["rows"]))
    if abs(now - before) < _ERRORS * error or max(now, before) < _RATIO * min(
        now, before
    ):
        return ""
    return (
        f"the label is 1 in {now:.1%} of the rows, in train in {before:.1%}. A model "
        "that is calibrated on one is not on the other. Have the logs changed on the "
        "way, or do labels still come in?"
    )


def _drift(config: Config, before: Columns, after: Columns) -> dict[str, Any]:
    """How far each feature has moved, and how far is taken for usual."""
    features, chance = {}, {}
    for feature in config.features:
        old, new = before.get(feature.name), after.get(feature.name)
        if old is not None and new is not None and old.type == new.type:
            features[feature.name] = {
                "missing": drift.missing(old, new),
                "values": drift.values(old, new),
            }
            chance[feature.name] = drift.by_chance(old, new)
    limit = config.validation.drift
    return {"limit": limit, "features": features, "by_chance": chance}


def _moved(drifts: Mapping[str, Mapping]) -> Iterator[Finding]:
    """Features that have moved too far."""
    names = {
        "missing": "share of rows without a value",
        "values": "distribution of values",
    }
    for where, found in drifts.items():
        for column, distances in found["features"].items():
            for what, distance in distances.items():
                by_chance = found["by_chance"][column] if what == "values" else 0.0
                if distance > found["limit"] + by_chance:
                    yield Finding(
                        Info.WARNING,
                        column,
                        Info.COMPARATOR_L_INFTY_HIGH,
                        f"Column {column!r}: the {names[what]} moved by "
                        f"{distance:.2f} {where}; up to {found['limit']} is taken "
                        "for usual.",
                    )


def _summed(findings: Iterable[Finding]) -> Iterator[str]:
    """The texts, of each kind no more than the first few."""
    of_type: dict[int, list[str]] = {}
    for finding in findings:
        of_type.setdefault(finding.type, []).append(finding.text)
    for texts in of_type.values():
        if len(texts) <= _SHOWN:
            yield from texts
            continue
        yield from texts[: _SHOWN - 1]
        more = len(texts) - _SHOWN + 1
        yield f"{more} more such findings, see {layout.ANOMALIES_TEXT}"


def _write(
    folder: Path, schema: schema_pb2.Schema, findings: Iterable[Finding]
) -> None:
    anomalies = anomalies_pb2.Anomalies(baseline=schema)
    lines = []
    for finding in findings:
        info = anomalies.anomaly_info[finding.column]
        info.path.step[:] = [finding.column]
        info.severity = max(info.severity, finding.severity)
        info.description = f"{info.description} {finding.text}".strip()
        name = Info.Type.Name(finding.type)
        info.reason.add(
            type=finding.type, short_description=name, description=finding.text
        )
        info.short_description = "; ".join(r.short_description for r in info.reason)
        lines.append(f"{Info.Severity.Name(finding.severity):7}  {finding.text}\n")
    (folder / layout.ANOMALIES).write_bytes(
        anomalies.SerializeToString(deterministic=True)
    )
    (folder / layout.ANOMALIES_TEXT).write_text("".join(lines) or "No anomalies.\n")
