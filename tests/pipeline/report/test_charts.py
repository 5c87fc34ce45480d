"""Charts are whole, deterministic SVG, whatever the names and numbers are."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from pipeline.report import charts, comparison, curves

LINE = [(0.0, 0.1), (0.5, 0.4), (1.0, 0.9)]
HARD = ["$x_1^{$", "<b>&", "_hidden", "搜索", "two\nlines", "", "long " * 40]


def _texts(chart):
    """Every text of a chart; also checks that it is well-formed."""
    svg = chart.svg.replace("xlink:href", "href")
    assert "http" not in svg and "$\\math" not in svg
    return ["".join(t.itertext()) for t in ElementTree.fromstring(svg).iter("text")]


def test_axes_ticks_and_legend_are_texts():
    found = _texts(
        charts.lines("loss", "epoch", "value", {"train": LINE, "valid": LINE})
    )
    assert {"epoch", "value", "train", "valid"} <= set(found)
    assert {"0.0", "1.0"} <= set(found)  # ticks
    single = _texts(charts.lines("loss", "epoch", "value", {"train": LINE}))
    assert "train" not in single  # needs no legend


def test_lines_differ_without_colour():
    series = {str(i): LINE for i in range(6)}
    svg = charts.lines("many", "x", "y", series).svg
    dashes = re.findall("stroke-dasharray: ([^;]*)", svg)
    assert len(set(dashes)) == 5  # and one that is not dashed


def test_bars_name_their_groups_and_their_length():
    chart = charts.bars("tab", "share", ["home"], {"a": ([0.5], None)}, ends=(0, 1))
    assert set(_texts(chart)) - {"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"} == {
        "share",
        "home",
    }


def _lightness(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_bars_get_lighter():
    shares = [_lightness(color) ** (1 / 3) for color in charts._FILLS]
    steps = [b - a for a, b in zip(shares, shares[1:], strict=False)]
    assert min(steps) > 0.08


@pytest.mark.parametrize("name", HARD)
def test_any_name_can_be_drawn(name):
    shown = " ".join(name.split())[:10].lstrip("_")
    for chart in (
        charts.lines(name, name, "y", {name: LINE, "other": LINE}),
        charts.bars(name, "x", [name], {name: ([0.5], [0.1]), "other": ([1.0], None)}),
        charts.steps(name, name, "y", {name: ([0, 1, 2], [0.5, 0.5])}),
        charts.seesaw(name, name, "y", {name: {"x": (0.1, 0, 0.2), "y": (0, 0, 0)}}),
    ):
        assert any(shown in text for text in _texts(chart))


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e30])
def test_any_size_can_be_drawn(scale):
    points = [(x * scale, y * scale) for x, y in LINE]
    assert _texts(charts.lines("a", "x", "y", {"a": points}))
    assert _texts(charts.lines("a", "x", "y", {"a": points}, log=True))
    assert _texts(charts.bars("a", "x", ["b"], {"a": ([scale], [scale])}))


def test_the_same_chart_is_the_same_text_and_ids_are_of_one_chart():
    one, again, other = (
        charts.lines(title, "x", "y", {"a": LINE}).svg for title in ("a", "a", "b")
    )
    assert one == again
    ids = [set(re.findall(' id="([^"]*)"', svg)) for svg in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r'(?:url\(#|href="#)([^")]*)', one))
    assert used == ids[0]


def _gain(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def test_seesaw_has_one_plot_a_pair_and_one_point_a_model():
    models = {
        "ple": {"click": _gain(0.02), "like": _gain(0.01), "buy": _gain(0.0)},
        "mmoe": {"click": _gain(0.02), "like": _gain(-0.03)},
    }
    tasks = [{"name": name, "metric": "auc"} for name in ("click", "like", "buy")]
    plots = comparison.seesaws(models, tasks, "the baseline")
    assert [plot.title.split(" against")[0] for plot in plots] == [
        "click and like",
        "click and buy",
        "like and buy",
    ]
    assert {"ple", "mmoe", "both gain"} <= set(_texts(plots[0]))
    assert "ple" in _texts(plots[1]) and "mmoe" not in _texts(plots[1])
    assert comparison.seesaws(models, tasks[:1], "it") == []
    assert len(comparison.seesaws(models, tasks, "it", most=2)) == 2


def test_many_models_of_a_seesaw_are_numbered():
    gains = {"click": _gain(0.02), "like": _gain(0.01)}
    names = [f"{i}. ple" for i in range(1, 9)]
    tasks = [{"name": "click", "metric": "auc"}, {"name": "like", "metric": "spearman"}]
    (plot,) = comparison.seesaws(dict.fromkeys(names, gains), tasks, "it")
    texts = _texts(plot)
    assert {"1", "8", "AUC gain of click", "Spearman gain of like"} <= set(texts)
    assert "1. ple" not in texts
    (few,) = comparison.seesaws(dict.fromkeys(names[:6], gains), tasks, "it")
    assert "6. ple" in _texts(few) and "6" not in _texts(few)


def test_learning_curves_stand_under_their_task():
    epochs = [
        {"loss": 2.0, "val_loss": 2.1, "buy_loss": 1.0, "buy_more_loss": 1.5, "lr": 0.1}
        | {"buy_more_auc": None, "buy_weight": 1.0, "buy_more_weight": 0.5 + i}
        for i in range(2)
    ]
    found = {
        heading: [chart.title for chart in of]
        for heading, of in curves.learning(epochs, ["buy", "buy_more"])
    }
    assert found == {
        "All tasks": ["loss", "lr", "Loss weights"],
        "buy": ["buy: loss"],
        "buy_more": ["buy_more: loss"],
    }
    assert curves.learning([], ["buy"]) == []
