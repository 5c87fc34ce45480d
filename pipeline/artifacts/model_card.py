"""What the pipeline adds to the card of an exported model; see `tfmtl.model_card`.

| key          |                                                                  |
|--------------|------------------------------------------------------------------|
| name         | the pipeline's                                                   |
| domain       | the feature whose values are the domains, and the frequent ones  |
| features     | examples of values, valid range or values, share of missing      |
| data         | rows of each split, and from when to when, if split by time      |
| metrics      | "valid", of the best epoch; "test", which the Pusher adds        |
| calibration  | of tasks that have one: sum of predictions over sum of labels    |
|              | on the valid split, before and after ("valid" above is before)   |
| fingerprints | of the config, and of the code that trained and exported         |

Ranges are those of the train split. A value beyond them is served too, but the model
has not seen its like.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import fingerprint
from pipeline.artifacts import examples
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.artifacts.layout import SPLITS
from pipeline.config import Config
from pipeline.config.features import Feature
from tfmtl import model_card

_EXAMPLES = 3
_LISTED = 50  # values of a categorical feature, if it has no more than these


def extend(
    config: Config,
    exported: Path,
    statistics: Path,
    metrics: Mapping[str, float],
    calibration: Mapping[str, Mapping],
) -> None:
    """Adds to the card of a SavedModel what the statistics and the training know.

    Args:
        config: The pipeline.
        exported: The SavedModel, with the card that `tfmtl.export` wrote.
        statistics: What StatisticsGen wrote.
        metrics: Those of the epoch that is kept.
        calibration: What `MultiTaskModel.calibrate` returned.
    """
    card = model_card.read(exported)
    rows, stats = statistics_artifact.read(statistics, "train")
    by_name = {feature.name: feature for feature in config.features}
    for described in card["features"]:
        name = described["name"]
        described |= _feature(by_name[name], stats[name])
    card |= {
        "name": config.name,
        "domain": config.domain
        and {
            "feature": config.domain,
            "values": _top(stats[config.domain], _LISTED),
        },
        "data": _data(config, statistics),
        "metrics": {"valid": _numbers(metrics)},
        "calibration": {
            task: {
                key: _finite(value) if isinstance(value, float) else value
                for key, value in found.items()
            }
            for task, found in calibration.items()
        },
        "fingerprints": {
            "config": fingerprint.digest(
                config.model_dump(exclude={"workspace", "push", "beam", "sweep"})
            ),
            "code": fingerprint.code("pipeline.components.trainer.component"),
        },
    }
    model_card.write(exported, card)


def with_test_metrics(card: Mapping[str, Any], measured: Mapping) -> dict[str, Any]:
    """Returns the card with the metrics of the test split.

    Args:
        card: A card.
        measured: What the Evaluator wrote as metrics.json.
    """
    test = {
        record["task"]: {"rows": record["rows"]}
        | {k: v for k, v in record["model"].items() if not isinstance(v, dict | list)}
        for record in measured["results"]
        if record["slice"] == "all"
    }
    return {**card, "metrics": {**card.get("metrics", {}), "test": test}}


def example_rows(config: Config, statistics: Path) -> pa.RecordBatch:
    """Returns two rows of raw features: the most usual values, and no values at all."""
    _, stats = statistics_artifact.read(statistics, "train")
    usual: dict[str, Any] = {}
    for feature in config.raw_features:
        (usual[feature.name], *_) = [*_examples(feature, stats[feature.name]), None]
    nothing = dict.fromkeys(usual)
    return examples.raw_rows([usual, nothing], config.raw_features)


def _feature(feature: Feature, stats: Any) -> dict[str, Any]:
    """What the statistics say of one feature."""
    common = statistics_artifact.common(stats)
    rows = common.num_missing + common.num_non_missing
    described: dict[str, Any] = {
        "kind": feature.kind,
        "examples": list(_examples(feature, stats)),
        "missing_share": round(common.num_missing / max(rows, 1), 6),
    }
    if feature.kind == "numeric":
        if stats.HasField("num_stats"):
            ends = [stats.num_stats.min, stats.num_stats.max]
            described["range"] = [_finite(end) for end in ends]
    elif feature.kind == "sequence":
        described |= {"of": feature.of, "max_length": feature.max_length}
    elif feature.kind == "numeric_sequence":
        described |= {"side_of": feature.side_of, "max_length": feature.max_length}
    elif feature.kind == "multivalued":
        described["max_length"] = feature.max_length
        described["weighted"] = feature.is_weighted
    elif feature.kind == "lookup":
        described |= {"key": feature.key, "max_length": feature.max_length}
    elif feature.kind == "vector":
        described["dim"] = feature.dim
        if common.num_non_missing:
            described["norm"] = _finite(stats.num_stats.mean)  # of the lengths
    else:
        count = stats.string_stats.unique
        described["distinct"] = count
        if count <= _LISTED:
            described["values"] = sorted(_top(stats, _LISTED))
        if feature.hash_buckets:
            described["hash_buckets"] = feature.hash_buckets
    return described


def _examples(feature: Feature, stats: Any) -> list[Any]:
    """The most usual values, or the median and the quartiles."""
    if feature.kind == "numeric":
        if not statistics_artifact.common(stats).num_non_missing:
            return []
        levels = stats.num_stats.histograms[1].buckets  # deciles
        return [stats.num_stats.median, levels[1].high_value, levels[8].high_value]
    if feature.kind == "numeric_sequence":
        known = statistics_artifact.common(stats).num_non_missing
        return [[f"{stats.num_stats.median:g}"]] if known else []
    if feature.kind == "vector":
        length = stats.num_stats.mean
        return [[length / feature.dim**0.5] * feature.dim]
    top = _top(stats, max(_EXAMPLES, getattr(feature, "max_length", 0)))
    if hasattr(feature, "max_length"):
        return [top[: feature.max_length]] if top else []
    return top[:_EXAMPLES]


def _top(stats: Any, most: int) -> list[str]:
    return [value.value for value in stats.string_stats.top_values[:most]]


def _data(config: Config, statistics: Path) -> dict[str, Any]:
    """Rows and, where the split column is a time, the first and last of each split."""
    split, found = config.data.split, {}
    for name in SPLITS:
        rows, stats = statistics_artifact.read(statistics, name)
        found[name] = {"rows": rows}
        if split.by == "time" and split.column in stats:
            times = stats[split.column].custom_stats
            found[name] |= {time.name: time.num for time in times}
    return {
        "source": config.data.source or "logs",
        "split": split.model_dump(),
        "splits": found,
    }


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name.removeprefix("val_"): _finite(value)
        for name, value in metrics.items()
        if name.startswith("val_") and value is not None
    }


def _finite(value: float) -> float | None:
    """What JSON can hold: null for infinity, and for a metric that is not defined."""
    return float(value) if math.isfinite(value) else None
