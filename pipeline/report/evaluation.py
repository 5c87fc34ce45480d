"""The page on which a person decides about a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import comparison, curves, experts, page
from pipeline.report.comparison import REFERENCES

ALL = "all"  # the slice column, and the value, of all rows
_DOMAINS = 8  # columns of the table of tasks and domains
_FEATURES = 20  # rows of a table of importance; importance.json has them all
_SLICES = 50  # rows of a table of a slice column; metrics.json has them all


def render(
    measured: Mapping[str, Any],
    *,
    epochs: Sequence[Mapping[str, float]] = (),
    importance: Mapping[str, Any] | None = None,
    gates: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    infra: Mapping[str, Any] | None = None,
    infra_reasons: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
    anomalies: Sequence[tuple[str, str]] = (),
    statistics_page: str | None = None,
    lineage: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Returns the page; what is not given is left out.

    Args:
        measured: What the Evaluator writes as metrics.json.
        epochs: The training history, one mapping of metrics an epoch.
        importance: What the Evaluator writes as importance.json.
        gates: What the Trainer writes as gates.json.
        parameters: What the Trainer writes as parameters.json.
        infra: What the InfraValidator writes as infra.json.
        infra_reasons: Why the InfraValidator refuses the model.
        card: The model's card.
        anomalies: (severity, text) of each.
        statistics_page: Where the statistics page lies, from this page.
        lineage: What the model was made from; see `lineage.of`.
    """
    overall = {r["task"]: r for r in measured["results"] if r["slice"] == ALL}
    tasks = measured["tasks"]
    against = comparison.reference(measured["results"])
    more = tuple(measured.get("more_metrics", ()))
    failed = [g for g in measured["gates"] if not g["passed"]]
    return page.render(
        "evaluation",
        **{key: measured.get(key) for key in _OF_THE_RUN},
        references=REFERENCES,
        reasons=[gate["reason"] for gate in failed],
        undecided=[g["reason"] for g in measured["gates"] if g.get("undecided")],
        rules=[_rule(gate) for gate in measured["gates"]],
        infra=infra,
        infra_reasons=infra_reasons,
        card=card or {},
        anomalies=anomalies,
        statistics_page=statistics_page,
        lineage=lineage,
        overall=overall,
        against=against,
        matrix=_matrix(measured, against),
        kinds=[(k, _of_kind(tasks, overall, k, more)) for k in _KINDS],
        gains=_gains(tasks, overall, more),
        seesaws=_seesaws(measured, overall),
        slices=[_slice_table(measured, c, against) for c in measured["slices"]],
        predictions=[
            (task["name"], overall[task["name"]].get("too_few"), plots)
            for task in tasks
            if (plots := curves.predictions(overall.get(task["name"], {})))
        ],
        learning=curves.learning(epochs, [task["name"] for task in tasks]),
        importance=importance and _importance(importance),
        gates=gates and _gates(gates),
        parameters=parameters and experts.parameters(parameters),
    )


_OF_THE_RUN = (
    "pipeline",
    "architecture",
    "rows",
    "tasks",
    "domain",
    "group",
    "baseline",
    "baseline_note",
    "single_task",
    "blessed",
)
# Binary tasks have other metrics than those of numbers.
_KINDS = {
    "binary": ("auc", "gauc", "log_loss", "normalized_entropy", "calibration"),
    "regression": ("spearman", "xauc", "mae", "rmse", "calibration"),
    "count": ("spearman", "xauc", "mae", "rmse", "calibration"),
    "classes": ("accuracy", "log_loss", "normalized_entropy"),
}


def _matrix(measured: Mapping, against: str | None) -> dict[str, Any]:
    """Tasks x domains: the primary metric of each."""
    domain = measured["domain"]
    records = {
        (r["task"], r["slice"], r["value"]): r
        for r in measured["results"]
        if r["slice"] in (ALL, domain)
    }
    sizes: dict[str, int] = {}
    for record in measured["results"]:
        if record["slice"] == domain:
            value = record["value"]
            sizes[value] = max(sizes.get(value, 0), record["rows"])
    shown, hidden = page.largest(sizes, _DOMAINS)
    return {
        "columns": [("all rows", measured["rows"]), *((v, sizes[v]) for v in shown)],
        "hidden": hidden,
        "rows": [
            (
                task,
                [
                    comparison.cell(
                        records.get((task["name"], *column)),
                        task["metric"],
                        against,
                        {"best_reachable": "best"},
                    )
                    for column in ((ALL, ALL), *((domain, value) for value in shown))
                ],
            )
            for task in measured["tasks"]
        ],
    }


def _of_kind(
    tasks: Sequence[Mapping],
    overall: Mapping[str, Mapping],
    kind: str,
    more: tuple[str, ...],
) -> dict[str, Any]:
    """Every metric of the tasks of a kind, over all rows."""
    members = [task for task in tasks if task["kind"] == kind]
    metrics = [
        metric
        for metric in (*_KINDS[kind], *more)
        if any(metric in overall.get(t["name"], {}).get("model", {}) for t in members)
    ]
    return {
        "metrics": metrics,
        "rows": [
            (
                task,
                overall.get(task["name"]),
                [
                    comparison.cell(overall.get(task["name"]), metric, None)
                    for metric in metrics
                ],
            )
            for task in members
        ],
    }


def _gains(
    tasks: Sequence[Mapping], overall: Mapping[str, Mapping], more: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A table for each reference and kind: every metric's gain over it."""
    tables = []
    for other, called in REFERENCES.items():
        for kind, metrics in _KINDS.items():
            metrics += more
            rows = []
            for task in tasks:
                record = overall.get(task["name"], {})
                gains = record.get("gain", {}).get(other)
                if task["kind"] == kind and gains:
                    rows.append((task, [gains.get(metric) for metric in metrics]))
            kept = [i for i in range(len(metrics)) if any(row[1][i] for row in rows)]
            if rows:
                tables.append(
                    {
                        "title": f"Gain over {called}: {kind}",
                        "metrics": [metrics[i] for i in kept],
                        "rows": [
                            (
                                task,
                                [
                                    found[i]
                                    and found[i]
                                    | {"change": comparison.change(found[i])}
                                    for i in kept
                                ],
                            )
                            for task, found in rows
                        ],
                    }
                )
    return tables


def _seesaws(measured: Mapping, overall: Mapping[str, Mapping]) -> list:
    tasks = measured["tasks"]
    gains = comparison.gains_of(overall, tasks, measured["architecture"])
    return [
        chart
        for other, models in gains.items()
        for chart in comparison.seesaws(models, tasks, REFERENCES[other])
    ]


def _rule(gate: Mapping) -> dict[str, Any]:
    """One line of the table of rules."""
    empty = dict.fromkeys(("slice", "metric", "value", "low", "high", "limit"))
    verdict = "met" if gate["passed"] else "not met"
    return {
        **empty,
        **gate,
        "verdict": "undecided" if gate.get("undecided") else verdict,
    }


def _slice_table(measured: Mapping, column: str, against: str | None) -> dict[str, Any]:
    """One row for each value of a slice column, one cell for each task in it."""
    rows: dict[str, dict[str, Mapping]] = {}
    for record in measured["results"]:
        if record["slice"] == column:
            rows.setdefault(record["value"], {})[record["task"]] = record
    sizes = {
        value: max(record["rows"] for record in records.values())
        for value, records in rows.items()
    }
    shown, hidden = page.largest(sizes, _SLICES)
    others = {"gauc": f"by {measured['group']}"} if measured["group"] else {}
    return {
        "column": column,
        "rows": [
            (
                value,
                sizes[value],
                [
                    _slice_cell(rows[value], task, against, others)
                    for task in measured["tasks"]
                ],
            )
            for value in shown
        ],
        "hidden": hidden,
    }


def _slice_cell(
    records: Mapping[str, Mapping],
    task: Mapping,
    against: str | None,
    metrics: Mapping[str, str],
) -> dict[str, Any] | None:
    """A cell with other metrics of the same model, too."""
    record = records.get(task["name"])
    found = comparison.cell(record, task["metric"], against, {"best_reachable": "best"})
    if record is not None:
        found["others"] += [
            (called, record["model"][metric])
            for metric, called in metrics.items()
            if metric in record["model"]
        ]
    return found


def _importance(found: Mapping[str, Any]) -> dict[str, Any]:
    """Features x tasks: what each metric loses without a feature's values."""
    places = [("all rows", found["tasks"])]
    for value in page.largest({v: 1 for v in found["domains"]}, _DOMAINS)[0]:
        places.append((f"{found['domain']} {value}", found["domains"][value]))
    return {
        "rows": found["rows"],
        "metrics": found["metrics"],
        "hidden": max(len(found["features"]) - _FEATURES, 0),
        "tables": [(name, _of_features(found, drops)) for name, drops in places],
    }


def _of_features(found: Mapping[str, Any], drops: Mapping) -> list[tuple[str, list]]:
    """(feature, its drop of each task), the most important first."""

    def largest(feature: str) -> float:
        found = [of.get(feature, {}).get("drop") for of in drops.values()]
        return max((drop for drop in found if drop is not None), default=0.0)

    shown = sorted(found["features"], key=largest, reverse=True)[:_FEATURES]
    return [
        (feature, [drops.get(task, {}).get(feature) for task in found["metrics"]])
        for feature in shown
    ]


def _gates(health: Mapping) -> dict[str, Any]:
    layers, hidden = experts.gates(health)
    return {
        "domain": health["domain"],
        "layers": layers,
        "hidden": hidden,
        "units": experts.units(health),
        "findings": health["findings"],
    }
