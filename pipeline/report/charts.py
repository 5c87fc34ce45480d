"""The kinds of charts of the pages.

Series differ by colour, by lightness, and by dashes or markers, so that they can be
told apart in grey.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from pipeline.report.svg import HEIGHT, INK, SOFT, Chart, chart

Points = Sequence[Sequence[float]]

# Of lines: colour, dashes, marker.
_LINES = [
    ("#0b3c7d", "-", "o"),
    ("#d1640f", (0, (4, 2)), "s"),
    ("#0f7b5f", (0, (6, 1.5, 1, 1.5)), "^"),
    ("#8b5fbf", (0, (1, 1.2)), "D"),
    ("#7a8794", (0, (2, 1, 2, 3)), "v"),
    ("#c2a100", (0, (8, 2)), "P"),
]
# Of bars, each much lighter than the one before.
_FILLS = ["#0b3c7d", "#b3541e", "#5aa08a", "#e6b36d", "#d8dcee", "#ffffff"]
_PALE = "#a9b2bc"
_LONGEST = 22  # characters of a label


def lines(
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Points],
    *,
    diagonal: bool = False,
    whole: bool = False,
    markers: bool = False,
    log: bool = False,
    box: tuple[float, float, float, float] | None = None,
) -> Chart:
    """A line for each series.

    Args:
        title: What the chart shows.
        x: What the horizontal axis shows, with its unit.
        y: What the vertical axis shows.
        series: {name: points (x, y)}; the first one is drawn on top.
        diagonal: Whether to draw y = x.
        whole: Whether x counts something, so that ticks are whole numbers.
        markers: Whether each point is marked.
        log: Whether the x axis is logarithmic, linear around 0.
        box: Least and greatest x, least and greatest y. Defaults to those of the data.
    """

    def draw(axes: Axes) -> None:
        if diagonal:
            axes.axline((0, 0), slope=1, color=_PALE, linewidth=0.8, zorder=1)
        for i, (name, points) in enumerate(series.items()):
            color, dashes, marker = _line(i)
            axes.plot(
                *zip(*points, strict=True),
                color=color,
                linestyle=dashes,
                marker=marker if markers else "",
                label=_short(name),
                zorder=9 - i,
            )
        if log:
            axes.set_xscale("symlog", linthresh=_smallest(series))
            axes.xaxis.get_major_locator().set_params(numticks=5)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=whole, nbins=6))
        if box:
            axes.set_xlim(box[0], box[1])
            axes.set_ylim(box[2], box[3])
        _name(axes, x, y)

    return chart(title, draw, len(series))


def steps(
    title: str, x: str, y: str, series: Mapping[str, tuple[Points, Points]]
) -> Chart:
    """A histogram for each series, {name: (edges, heights)}, as an outline."""

    def draw(axes: Axes) -> None:
        for i, (name, (edges, heights)) in enumerate(series.items()):
            color, dashes, _ = _line(i)
            axes.stairs(
                heights,
                edges,
                color=color,
                linestyle=dashes,
                linewidth=1.3,
                label=_short(name),
                zorder=9 - i,
            )
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        _name(axes, x, y)

    return chart(title, draw, len(series))


def bars(
    title: str,
    x: str,
    labels: Sequence[str],
    series: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
    *,
    line: float | None = None,
    ends: tuple[float, float] | None = None,
) -> Chart:
    """Horizontal bars: a group for each label, a bar for each series.

    Args:
        title: What the chart shows.
        x: What the length of a bar is, with its unit.
        labels: Of the groups, from top to bottom.
        series: {name: (lengths, deviations or None)}.
        line: Where to draw a line to compare with.
        ends: Of the axis. Defaults to 0 and the longest bar.
    """
    thick = 0.8 / len(series)

    def draw(axes: Axes) -> None:
        for i, (name, (lengths, deviations)) in enumerate(series.items()):
            axes.barh(
                [at + (i - (len(series) - 1) / 2) * thick for at in range(len(labels))],
                lengths,
                height=thick * 0.9,
                xerr=deviations,
                color=_FILLS[i % len(_FILLS)],
                edgecolor=INK,
                linewidth=0.5,
                error_kw={"elinewidth": 0.8, "capsize": 1.4, "ecolor": "#3a444f"},
                label=_short(name),
            )
        if line is not None:
            axes.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        if ends:
            axes.set_xlim(*ends)
        _name(axes, x, "")

    height = 0.9 + len(labels) * max(0.2, 0.11 * len(series) + 0.08)
    return chart(title, draw, len(series), height=max(HEIGHT * 0.6, height))


def seesaw(
    title: str,
    x: str,
    y: str,
    points: Mapping[str, Mapping[str, tuple[float, float, float]]],
) -> Chart:
    """Two tasks' gains as axes, one point a model (PLE, fig. 3).

    Right of the vertical line the one task gains, above the other line the other does.

    Args:
        title: What the chart shows.
        x: What the horizontal axis shows.
        y: What the vertical axis shows.
        points: {model: {"x": (gain, low, high), "y": the same}}; the interval's ends
            may be NaN. Of more models than there are markers, the first word stands
            beside the point, instead of a legend.
    """
    many = len(points) > len(_LINES)

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axvline(0, color=INK, linewidth=0.8)
        for i, (name, point) in enumerate(points.items()):
            color, _, marker = _line(0 if many else i)
            at = point["x"][0], point["y"][0]
            axes.errorbar(
                *at,
                xerr=_whiskers(point["x"]),
                yerr=_whiskers(point["y"]),
                color=_PALE if many else color,
                elinewidth=0.6 if many else 0.9,
                capsize=0 if many else 2,
                zorder=2,
            )
            label = _short(name)
            axes.plot(
                *at, color=color, marker=marker, ms=3 if many else 5, ls="",
                label="" if many else label, zorder=3,
            )  # fmt: skip
            if many:
                place = label.split()[0].rstrip(".")
                axes.annotate(
                    place, at, (2, 2), textcoords="offset points", fontsize=6.5,
                    zorder=4,
                )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        for axis, limit in (("x", axes.set_xlim), ("y", axes.set_ylim)):
            reach = _reach(point[axis] for point in points.values())
            limit(-reach, reach)
        for at, side, text in (
            (0.98, "right", "both gain"),
            (0.02, "left", "both lose"),
        ):
            axes.text(
                at, at, text, transform=axes.transAxes, ha=side, va="center",
                color=SOFT, fontsize=6.5,
            )  # fmt: skip
        _name(axes, x, y)

    # What a single model is called counts, too.
    return chart(title, draw, 0 if many else 2, height=3.2)


def _smallest(series: Mapping[str, Points]) -> float:
    """The least x that is not 0, by its size: where a logarithmic axis begins."""
    return min(
        (abs(x) for points in series.values() for x, _ in points if x), default=1.0
    )


def _line(index: int) -> tuple:
    return _LINES[index % len(_LINES)]


def _reach(gains: Iterable[tuple[float, float, float]]) -> float:
    """How far an axis must go from 0 in both directions."""
    sizes = [abs(v) for ends in gains for v in ends if math.isfinite(v)]
    return 1.15 * max(sizes, default=0.0) or 0.01


def _whiskers(ends: tuple[float, float, float]) -> list[list[float]] | None:
    value, low, high = ends
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return [[max(value - low, 0)], [max(high - value, 0)]]


def _short(label: str, longest: int = _LONGEST) -> str:
    """A label in one line that is not wider than a chart can bear."""
    label = " ".join(str(label).split())
    label = label.lstrip("_") or "(empty)"  # matplotlib hides "_name" in a legend
    return label if len(label) <= longest else label[: longest - 1] + "…"


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(_short(x, 60))
    axes.set_ylabel(_short(y, 40) if y else "")
