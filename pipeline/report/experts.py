"""Charts of the gates (PLE, fig. 8), and tables of hidden units and parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.report import charts
from pipeline.report.svg import Chart

_DOMAINS = 5  # bars beside those of all rows
_GATES = 60  # charts
_TABLES = 30
_LABELS = 40  # bars of a gate


def gates(health: Mapping) -> tuple[list[tuple[str, list[Chart]]], int]:
    """Bars of each gate's mean weights by domain, with their deviation over the rows.

    Args:
        health: What the Trainer writes as gates.json.

    Returns:
        (layer, charts) of the layers with gates, and how many gates are left out.
    """
    layers: dict[str, list[Chart]] = {}
    found = dict(list(health["gates"].items())[:_GATES])
    reach: dict[str, float] = {}  # gates of a layer share their axis
    for path, gate in found.items():
        layer, most = path.rpartition("/")[0], _reach(gate)
        reach[layer] = max(most, reach.get(layer, 0.0))
    for path, gate in found.items():
        layer, _, name = path.rpartition("/")
        domains = sorted(gate["domains"].items(), key=lambda item: -item[1]["rows"])
        parts = {"all rows": gate, **dict(domains[:_DOMAINS])}
        labels = gate["labels"][:_LABELS]
        means = [mean for part in parts.values() for mean in part["mean"]]
        is_mix = min(means) >= 0 and abs(sum(gate["mean"]) - 1) < 0.01
        series = {
            called: (
                part["mean"][:_LABELS],
                part["std"][:_LABELS] if any(part["std"]) else None,
            )
            for called, part in parts.items()
        }
        layers.setdefault(layer, []).append(
            charts.bars(
                name,
                "mean weight, and its deviation over the rows",
                labels,
                series,
                line=1 / len(gate["labels"]) if is_mix else None,
                ends=(0, min(reach[layer], 1)) if is_mix else None,
            )
        )
    return list(layers.items()), len(health["gates"]) - len(found)


def _reach(gate: Mapping) -> float:
    """Where the longest bar's whisker ends, and a little more."""
    parts = [gate, *gate["domains"].values()]
    return 1.05 * max(float(np.max(np.add(p["mean"], p["std"]))) for p in parts)


def units(health: Mapping) -> list[dict[str, Any]]:
    """How active the hidden units of each layer are."""
    return [
        {
            "layer": layer,
            "units": int(np.size(found["active"])),
            "dead": found["dead"],
            "active": float(np.mean(found["active"])),
        }
        for layer, found in health["units"].items()
    ]


def parameters(counts: Mapping) -> dict[str, Any]:
    """Parts by size, and the largest embedding tables."""
    tables = sorted(counts["tables"].items(), key=lambda item: -item[1]["parameters"])
    return {
        "total": counts["parameters"],
        "parts": sorted(counts["parts"].items(), key=lambda item: -item[1]),
        "tables": tables[:_TABLES],
        "hidden_tables": max(len(tables) - _TABLES, 0),
    }
