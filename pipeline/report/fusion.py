"""The points that a search for a fused score has tried, drawn by matplotlib."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report import svg
from tfmtl.fusion import pareto_front

_TRIED, _FRONT, _CHOSEN = "#8a949e", "#0b3c7d", "#d1640f"


def front(record: Mapping) -> str:
    """Returns an SVG: what is earned of the goal, against what of each other name.

    Args:
        record: What fusion.json holds.
    """
    goals = [name for name, weight in record["goal"].items() if weight]
    # The goal's other parts, what must be kept, and only without those all the rest.
    others = [*goals[1:], *record["at_least"], *record["at_most"]]
    others = others or [n for n in record["points"][0]["ratios"] if n not in goals]
    others = list(dict.fromkeys(n for n in others if n != goals[0])) or goals

    def draw(figure: Figure) -> None:
        figure.set_facecolor("white")
        axes = figure.subplots(1, len(others), squeeze=False)[0]
        for axis, name in zip(axes, others, strict=True):
            _draw(axis, record, name, goals[0])
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4)
        figure.suptitle("on the lists that were searched", fontsize=8)

    return svg.file("fusion", draw, svg.WIDTH * len(others), svg.WIDTH * 1.15)


def _draw(axes, record: Mapping, across: str, up: str) -> None:
    """Two names' ratios as axes, 1 being the current weights; one point a try."""
    ratios = [point["ratios"] for point in record["points"]]
    at = np.array([[r[across], r[up]] for r in ratios], float)  # (points, 2)
    worse = np.array([-1 if _less_is_better(record, n) else 1 for n in (across, up)])
    best = at[pareto_front(at * worse)]
    chosen = record["searched"]["ratios"]
    axes.plot(*at.T, ls="", marker=".", ms=3, color=_TRIED, label="tried")
    axes.plot(*best.T, color=_FRONT, lw=1.2, marker="o", ms=3, label="Pareto front")
    axes.plot(1, 1, ls="", marker="s", ms=7, mfc="none", color="black", label="current")
    axes.plot(chosen[across], chosen[up], ls="", marker="*", ms=12, color=_CHOSEN,
              mec="black", mew=0.6, label="chosen")  # fmt: skip
    for name, line in ((across, axes.axvline), (up, axes.axhline)):
        for bounds in (record["at_least"], record["at_most"]):
            if name in bounds:
                line(bounds[name], color=_CHOSEN, lw=0.9, ls=(0, (4, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel(f"{across}, of current")
    axes.set_ylabel(f"{up}, of current")


def _less_is_better(record: Mapping, name: str) -> bool:
    return name in record["at_most"] or record["goal"].get(name, 1) < 0
