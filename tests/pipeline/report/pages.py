"""Content for pages: as much of everything as a page can have, with odd names."""

import numpy as np

TASKS = [
    {"name": "click", "kind": "binary", "space": None, "row_weight": None},
    {"name": "buy", "kind": "binary", "space": "click", "row_weight": "worth"},
    {"name": "minutes", "kind": "regression", "space": None, "row_weight": None},
]
ODD = ["home", "$x_1$ <b>odd</b>", "a very long name of a tab " * 5, "搜索\n_", "", "0"]


def _metrics(kind, value, few):
    names = {
        "binary": ("auc", "log_loss", "normalized_entropy", "calibration"),
        "regression": ("spearman", "xauc", "mae", "rmse", "calibration"),
    }[kind]
    found = {"invalid": 0, "mean": 0.3} | dict.fromkeys(names, value)
    if not few:
        found["intervals"] = {name: [value - 0.01, value + 0.02] for name in names}
    return found


def _record(task, column, value, at):
    kind, few = task["kind"], "6 positives, 10 are needed" if at == 2 else None
    metric = {"binary": "auc", "regression": "spearman"}[kind]
    record = {
        "task": task["name"],
        "slice": column,
        "value": value,
        "rows": 1000 + at,
        "mean_label": 0.25,
        "too_few": few,
        "model": _metrics(kind, 0.7 + at / 100, few),
        "baseline": _metrics(kind, 0.69, few),
        "best_reachable": _metrics(kind, 0.8, few),
    }
    if kind == "binary":
        record["positives"] = 250
    if not few:
        gain = {"value": 0.01 - 0.007 * at, "low": -0.01, "high": 0.03, "p": 0.02}
        gain["p_adjusted"] = 0.04 if at < 4 else 0.3
        record["gain"] = {"baseline": {metric: gain}}
    if column == "all":
        line = np.linspace(0, 1, 60)
        curve = {"calibration": [[x, x * 0.9, 100] for x in line[::6].tolist()]}
        if kind == "binary":
            curve["roc"] = np.stack([line, line**0.4], axis=1).tolist()
        record["curves"] = {"model": curve, "best_reachable": curve}
    return record


def measured(blessed=True):
    """A metrics.json."""
    metrics = {"binary": "auc", "regression": "spearman"}
    gates = [
        {
            "rule": "no_loss",
            "task": "click",
            "slice": None,
            "metric": "auc",
            "value": 0.01,
            "low": -0.01,
            "high": 0.03,
            "limit": 0.0,
            "passed": blessed,
            "undecided": False,
            "reason": "" if blessed else "click: auc has lost 0.0200",
        },
        {
            "rule": "rows",
            "task": "buy",
            "passed": True,
            "undecided": True,
            "reason": "buy: undecided, 6 positives, 10 are needed",
        },
    ]
    return {
        "pipeline": "shop",
        "architecture": "ple",
        "rows": 5000,
        "tasks": [task | {"metric": metrics[task["kind"]]} for task in TASKS],
        "domain": "tab",
        "slices": ["tab", "hour"],
        "group": None,
        "single_task": None,
        "baseline": {"path": "served/3", "version": 3, "architecture": "MMoE"},
        "baseline_note": "",
        "blessed": blessed,
        "gates": gates,
        "results": [
            *(_record(task, "all", "all", 0) for task in TASKS),
            *(_record(t, "tab", v, i) for t in TASKS for i, v in enumerate(ODD)),
            *(_record(t, "hour", str(i), 5) for t in TASKS for i in range(24)),
        ],
    }


EPOCHS = [
    {
        f"{prefix}{name}": 1 / (i + 1) + 0.1 * len(prefix)
        for prefix in ("", "val_")
        for name in ("loss", "click_loss", "click_auc", "buy_loss", "minutes_loss")
    }
    | {"click_weight": 1.0, "buy_weight": 1 + i / 9, "minutes_weight": float("nan")}
    for i in range(9)
]

_PART = {"rows": 10, "mean": [0.2, 0.8], "std": [0.1, 0.1]}
_DROP = {"drop": 0.0213, "low": 0.0101, "high": 0.0325}
_NO_DROP = {"drop": -0.001, "low": -0.004, "high": 0.002}
IMPORTANCE = {
    "rows": 20_000,
    "features": ["age", "<b>odd</b>", "noise"],
    "metrics": {"click": "auc", "minutes": "spearman"},
    "domain": "tab",
    "tasks": {
        "click": {"age": _NO_DROP, "<b>odd</b>": _DROP, "noise": _NO_DROP},
        "minutes": {},
    },
    "domains": {
        "home": {
            "click": {
                "age": _DROP,
                "<b>odd</b>": dict.fromkeys(_DROP),
                "noise": _NO_DROP,
            }
        }
    },
}
GATES = {
    "domain": "tab",
    "gates": {
        "ple/sharing/click_gate": {
            "labels": ["click_0", "shared_0"],
            **_PART,
            "domains": dict.fromkeys(ODD, _PART),
        },
        "ple/sharing/fixed": {
            "labels": ["a", "b"],
            **(_PART | {"std": [0.0, 0.0], "mean": [1.2, -0.4]}),
            "domains": {},
        },
    },
    "units": {
        "ple/tower/dense": {"active": [0.0, 0.5], "dead": 1},
        "ple/experts": {"active": [[0.2, 0.5]], "dead": 0},
    },
    "findings": [
        {
            "check": "dead_expert",
            "where": "ple/sharing",
            "text": "Expert shared_0 gives the same for every row.",
            "hint": "A lower learning rate helps.",
        }
    ],
}

PARAMETERS = {
    "parameters": 120,
    "parts": {"embedding": 80, "sharing": 40},
    "tables": {"user_id": {"rows": 20, "dim": 4, "parameters": 80}},
}

INFRA = {"rows": 7, "difference": 1e-7, "latency_ms": 3.5, "megabytes": 2.25}
