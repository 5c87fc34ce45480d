"""The pages on which a person chooses among models: of a comparison, and of a sweep."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import comparison, page

_SEESAWS = 6  # pairs of tasks
UNFAIR = "†"  # marks a model that may have learnt from the test rows


def of_comparison(board: Mapping[str, Any]) -> str:
    """The page of a comparison.

    Args:
        board: What `comparison.compare.compare` returns.
    """
    models = board["models"]
    return _render(
        board,
        title=f"{board['pipeline']}: comparison of {len(models)} models",
        warnings=unfair(models),
        notes=untold(models),
        about=[
            ("Test rows", page.number(board["rows"])),
            ("Compared with", board["against"]),
            ("Order", "by the mean gain over the tasks"),
        ],
        rows=[
            {
                "name": model["name"],
                "mark": UNFAIR if model["has_seen_test"] else None,
                "called": model["architecture"] or model["name"].split("/")[-1],
                "about": [model["architecture"]] if model["architecture"] else [],
                "tasks": model["tasks"],
                **_costs(model),
            }
            for model in models
        ],
        first=board["against"],
        of_cells="its 95 % interval",
    )


def unfair(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Says which models of a comparison may have learnt from the test rows, and why."""
    return [
        f"{UNFAIR} {model['name']} may have learnt from these test rows, so that its "
        f"metrics may be too good: {model['has_seen_test']}"
        for model in models
        if model["has_seen_test"]
    ]


def untold(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Says of which models of a comparison nobody knows what they have learnt from."""
    names = [model["name"] for model in models if model["has_seen_test"] is None]
    if not names:
        return []
    return [
        f"Whether these have learnt from the test rows cannot be told: "
        f"{', '.join(names)}."
    ]


def of_sweep(board: Mapping[str, Any]) -> str:
    """The page of a sweep.

    Args:
        board: What `sweep.sweep` returns.
    """
    models, seeds = board["models"], board["seeds"]
    chosen = [model for model in models if model["chosen"]]
    keys = list(dict.fromkeys(key for model in models for key in model["point"]))
    spread = "of the test split, as the mean over the seeds with its 95 % interval"
    return _render(
        board,
        title=f"{board['pipeline']}: sweep of {len(models)} trials",
        monitor=board["monitor"],
        notes=deleted(chosen),
        about=[
            (
                "Chosen by",
                f"{board['monitor']} on the valid split, the best of each architecture",
            ),
            ("Seeds", ", ".join(map(str, seeds))),
            ("Failed trainings", page.number(len(board["failed"]))),
        ],
        seeds=len(seeds),
        rows=[
            {
                "name": model["name"],
                "called": model["name"],
                "mark": None,
                "about": [
                    f"{key} {value(model['point'][key])}" for key in model["point"]
                ],
                "monitored": _over_seeds(model["value"]),
                "tasks": {
                    task: _of_test(found) for task, found in model["test"].items()
                },
                **_costs(model),
            }
            for model in chosen
        ],
        first=chosen[0]["name"],
        of_cells=spread
        if len(seeds) > 1
        else "of the test split, with its 95 % interval by the rows",
        keys=keys,
        trials=[
            {
                "name": model["name"],
                "chosen": model["chosen"],
                "monitored": _over_seeds(model["value"]),
                "point": [value(model["point"].get(key)) for key in keys],
                **_costs(model),
            }
            for model in models
            if len(models) > len(chosen)
        ],
        failed=board["failed"],
    )


def deleted(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Says which models of a sweep are deleted, and what is known of them."""
    lines = []
    for model in models:
        if seeds := model["deleted"]:
            known = "what was measured before stands"
            if not model["test"]:
                known = "it was not measured on the test split before"
            elif len(seeds) < len(model["models"]) and not _is_whole(model):
                known = "the others are measured"
            lines.append(
                f"{model['name']}: the model of seed {', '.join(seeds)} is deleted; "
                f"{known}."
            )
    return lines


def _is_whole(model: Mapping[str, Any]) -> bool:
    """Whether all seeds are measured on the test split."""
    return all(len(t["values"]) == len(model["models"]) for t in model["test"].values())


def value(of_point: Any) -> str:
    """A value of a point of the search space as text.

    Example:
        >>> value(0.00258817), value([64, 32]), value("adam")
        ('0.002588', '[64, 32]', '"adam"')
    """
    return f"{of_point:.4g}" if isinstance(of_point, float) else json.dumps(of_point)


def _render(
    board: Mapping[str, Any], rows: Sequence[dict], first: str, **content: Any
) -> str:
    """Renders rows with the name of the one that the others are compared with."""
    tasks = board["tasks"]
    for place, row in enumerate(rows, 1):
        row["place"] = place
        row["cells"] = [cell(row["tasks"].get(task["name"])) for task in tasks]
    labelled = {f"{row['place']}. {row['called']}": row for row in rows}
    gains = {
        label: {task: found["gain"] for task, found in row["tasks"].items()}
        for label, row in labelled.items()
    }
    against = next(label for label, row in labelled.items() if row["name"] == first)
    seesaws = comparison.seesaws(gains, tasks, against, _SEESAWS)
    usual = {"warnings": [], "monitor": None, "seeds": 1, "trials": [], "failed": []}
    return page.render(
        "leaderboard",
        **usual | content,
        tasks=tasks,
        rows=rows,
        against=against,
        seesaws=seesaws,
    )


def cell(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a table shows of one task of one model."""
    if found is None or (found["value"] is None and not found["too_few"]):
        return None
    gain = found["gain"] or dict.fromkeys(("value", "low", "high", "p_adjusted"))
    return {
        "too_few": found["too_few"],
        "value": found["value"],
        "interval": None if found["low"] is None else (found["low"], found["high"]),
        "gain": gain["value"],
        "change": comparison.change(gain),
        "ends": None if gain["low"] is None else (gain["low"], gain["high"]),
        "p": gain["p_adjusted"],
        "others": [],
    }


def _of_test(found: Mapping[str, Any]) -> dict[str, Any]:
    """A task of a model of a sweep as one of a comparison has it."""
    ends = {"low": found["low"], "high": found["high"]}
    if len(found["values"]) == 1 and found["of_rows"][0]:
        ends = dict(zip(("low", "high"), found["of_rows"][0], strict=True))
    return {
        "value": found["mean"],
        **ends,
        "too_few": found["too_few"],
        "gain": found["gain"],
    }


def _over_seeds(found: Mapping[str, Any]) -> dict[str, Any] | None:
    ends = {"value": found["mean"], "low": found["low"], "high": found["high"]}
    return cell({**ends, "too_few": None, "gain": None})


def _costs(model: Mapping[str, Any]) -> dict[str, Any]:
    return {"parameters": model["parameters"], "seconds": model["seconds"]}
