"""Content for pages: as much of everything as a page can have, with odd names."""

import numpy as np

TASKS = [
    {
        "name": "click",
        "kind": "binary",
        "space": None,
        "row_weight": None,
        "negative_rate": 1.0,
    },
    {
        "name": "buy",
        "kind": "binary",
        "space": "click",
        "row_weight": "worth",
        "negative_rate": 0.1,
    },
    {
        "name": "minutes",
        "kind": "regression",
        "space": None,
        "row_weight": None,
        "negative_rate": 1.0,
    },
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
    kind, few = task["kind"], "6 of the 10 positives needed" if at == 2 else None
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
            "reason": "buy: undecided, 6 of the 10 positives needed",
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


def _gain(value, p):
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"value": value, **ends, "p": p, "p_adjusted": p}


def comparison(models=3):
    """What `compare` writes: the second gains on click, and may have seen the test."""

    def tasks(at):
        click = {"value": 0.7 + at / 100, "low": 0.69, "high": 0.72, "too_few": None}
        click["gain"] = _gain(at / 100, 0.01 if at == 1 else 0.2) if at else None
        minutes = click | {"value": 0.4, "gain": at and _gain(-at / 100, 0.0001)}
        few = {"value": 0.9, "low": None, "high": None, "gain": None}
        few["too_few"] = "6 of the 10 positives needed"
        return {"click": click, "buy": few, "minutes": minutes}

    return {
        "pipeline": "shop",
        "rows": 5000,
        "against": "work@0",
        "tasks": measured()["tasks"],
        "models": [
            {
                "name": f"work@{at}",
                "architecture": ODD[at % len(ODD)],
                "parameters": None if at == 2 else 1000 * at,
                "seconds": None if at == 2 else 1.5,
                "mean_gain": 0.0,
                "has_seen_test": {1: "up to <i>at</i> = 7", 2: None}.get(at, ""),
                "tasks": tasks(at),
            }
            for at in range(models)
        ],
    }


def six_tasks():
    """A comparison with names and numbers that are as long as real ones."""
    board = comparison()
    names = ["click", "like", "follow", "comment", "long_view", "watch_seconds"]
    board["tasks"] = [{"name": n, "kind": "binary", "metric": "auc"} for n in names]
    for at, model in enumerate(board["models"]):
        tasks = [model["tasks"]["click"], model["tasks"]["minutes"]] * 3
        model |= {
            "name": f"workspace/feed@20261201-12000{at}",
            "architecture": "shared_bottom",
            "parameters": 12_345_678,
            "seconds": 1234.5,
            "tasks": dict(zip(names, tasks, strict=True)),
        }
    board["against"] = board["models"][0]["name"]
    return board


def _seeds(*values):
    mean = sum(values) / len(values)
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "values": [*values]}


def sweep(models=22):
    """What `sweep` writes, of two trials an architecture; one training has failed."""

    def test(at):
        gain = _gain(at / 1000, 0.01) if at else None
        known = {"metric": "auc", "too_few": None, "of_rows": [None] * 2, "gain": gain}
        few = known | {"too_few": "6 of the 10 positives needed", "gain": None}
        spearman = {"metric": "spearman", "gain": gain and _gain(-at / 900, 0.3)}
        return {
            "click": known | _seeds(0.7, 0.72),
            "buy": few | _seeds(0.6, 0.5),
            "minutes": known | _seeds(0.4, 0.42) | spearman,
        }

    return {
        "pipeline": "shop",
        "monitor": "val_loss",
        "minimize": True,
        "tasks": measured()["tasks"],
        "seeds": [0, 1],
        "models": [
            {
                "name": f"arch{at} {trial}",
                "architecture": f"arch{at}",
                "number": trial,
                "point": {"train.learning_rate": 0.00258817, "model.units": [64, 32]},
                "value": _seeds(2.0, 2.1),
                "parameters": 1_000_000 + at,
                "seconds": 12.0,
                "models": {"0": "a", "1": "b"},
                "chosen": not trial,
                **({} if trial else {"test": test(at), "deleted": ["1"] * (at == 2)}),
            }
            for trial in range(2)
            for at in range(models)
        ],
        "failed": [{"name": "arch0 1", "seed": 0, "error": "took more than <4 GB>"}],
    }
