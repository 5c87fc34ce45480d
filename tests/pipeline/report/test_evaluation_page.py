"""The page for a decision: verdict first, numbers with what is known of them."""

import datetime
import functools
import re

import pages
import pytest

from pipeline.report import evaluation


def _page(blessed=True, **more):
    return evaluation.render(pages.measured(blessed), **more)


@functools.cache
def whole_page():
    step = {
        "component": "Trainer",
        "execution": 3,
        "run": "r",
        "started": datetime.datetime(2024, 5, 6, 7, 8),
        "seconds": 12.5,
        "rows": 99,
        "inputs": [1, 2],
        "outputs": ["Trainer/model/3"],
    }
    return _page(
        epochs=pages.EPOCHS,
        importance=pages.IMPORTANCE,
        gates=pages.GATES,
        parameters=pages.PARAMETERS,
        infra=pages.INFRA,
        anomalies=[("WARNING", "Column 'age' moved")],
        statistics_page="../statistics.html",
        lineage=[step],
    )


@pytest.fixture(scope="module")
def page():
    return _page()


@pytest.fixture(scope="module")
def whole():
    return whole_page()


def _row(page, first):
    """The cells of the first table row that begins with a text."""
    row = re.search(rf"<tr><td>{re.escape(first)}.*?</tr>", page, re.DOTALL)[0]
    return [
        " ".join(cell.split()) for cell in re.findall("<td.*?</td>", row, re.DOTALL)
    ]


def test_what_each_feature_brings(whole):
    section = whole.split('id="importance"')[1].split('id="training"')[0]
    overall, home = section.split("<details>")
    first, *others = re.findall("<tr><td>(.*?)</td>", overall)
    assert first == "&lt;b&gt;odd&lt;/b&gt;" and set(others) == {"age", "noise"}
    _, drop, none = _row(overall, first)
    assert 'class="up"' in drop and "+0.0213" in drop and "+0.0101 to +0.0325" in drop
    assert none == "<td>–</td>"
    assert "class" not in _row(overall, "age")[1]
    assert "tab home" in home and "+0.0213" in _row(home, "age")[1]
    assert "20,000 test rows" in section


def test_a_page_needs_nothing_else(whole):
    assert "http" not in whole and "<script" not in whole and "@import" not in whole
    assert "<b>odd</b>" not in whole and "&lt;b&gt;odd&lt;/b&gt;" in whole
    assert len(whole) < 5_000_000


def test_a_blessed_model_and_a_refused_one(page):
    refused = _page(blessed=False)
    assert "✓ blessed" in page and "not blessed" not in page
    assert "✗ not blessed" in refused
    top = refused.split("<nav>")[0]
    assert "click: auc has lost 0.0200" in top
    infra = _page(infra_reasons=["click is not finite"])
    assert "✗ not blessed" in infra and "click is not finite" in infra.split("<nav>")[0]
    assert "undecided, 6 of the 10 positives" in page


def test_a_significant_gain_has_colour_and_arrow_and_a_chance_one_has_neither(page):
    cells = _row(page, "click")
    home = next(c for c in cells if "0.7000" in c and "0.690 to 0.720" in c)
    assert 'class="up"' in home and "▲ +0.0100" in home
    assert '<td class="down">' in page and "▼ −0.0110" in page  # p = 0.04
    assert "−0.0180" in page and "▼ −0.0180" not in page  # p = 0.3


def test_where_rows_are_too_few_there_is_no_number(page):
    cell = re.search('<td class="thin" title="([^"]*)">(.*?)</td>', page, re.DOTALL)
    assert cell[1] == "6 of the 10 positives needed"
    assert "<small>6 of the 10 positives</small>" in cell[2] and "0.72" not in cell[2]


def test_curves_of_too_few_rows_say_so():
    measured = pages.measured()
    record = next(r for r in measured["results"] if r["task"] == "buy")
    assert record["slice"] == "all"
    record["too_few"] = "6 of the 10 positives needed"
    curves = evaluation.render(measured).split('id="curves"')[1]
    of = dict(re.findall(r"<h3>(.*?)</h3>(.*?)<div", curves, re.DOTALL))
    assert "Too few to say anything: 6 of the 10 positives" in of["buy"]
    assert "Too few" not in of["click"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([0.82, 0.894], "▼ too low"),
        ([1.12, 1.3], "▲ too high"),
        ([0.82, 0.91], None),
        ([1.09, 1.3], None),
    ],
)
def test_a_calibration_that_is_proven_wrong_is_red(ends, said):
    measured = pages.measured()
    record = next(r for r in measured["results"] if r["task"] == "click")
    record["model"]["intervals"]["calibration"] = ends
    page = evaluation.render(measured)
    cell = _row(page.split("<tr><th>binary</th>")[1], "click")[-1]
    assert cell.startswith('<td class="down">') == bool(said)
    assert said in cell if said else "too" not in cell


def test_the_verdict_of_a_rule_stands_where_a_phone_shows_it(page):
    table = page.split('id="rules"')[1].split("</table>")[0]
    head, *rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    assert re.findall(r"<th[^>]*>(.*?)</th>", head)[:2] == ["rule", "verdict"]
    for row in rows:
        verdict = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)[1]
        assert verdict[2:] in ("met", "not met", "undecided")


def test_undecided_rules_are_not_counted_as_met(page):
    assert "1 of 2 rules are met, the others undecided" in page


def test_every_section_of_a_whole_run(whole):
    for text in (
        "click and buy against the baseline",  # seesaw
        "click: ROC",
        "click: precision and recall",
        "minutes: calibration",
        "Loss weights",
        "Expert shared_0 gives the same for every row.",
        "A lower learning rate helps.",
        "2.2 MB",
        "3.5 ms",
        "user_id",
        'href="../statistics.html"',
        "Column &#39;age&#39; moved",
        "Trainer/model/3",
        "2024-05-06 07:08",
        "the served version 3, MMoE",
    ):
        assert text in whole, text


def test_what_is_not_known_is_left_out():
    measured = pages.measured()
    for record in measured["results"]:
        for key in ("gain", "curves", "baseline", "best_reachable", "too_few"):
            record.pop(key, None)
        record["model"] |= {"auc": None, "spearman": None}
    measured |= {"baseline": None, "baseline_note": "none is served", "gates": []}
    page = evaluation.render(measured | {"domain": None, "slices": []})
    assert "none is served" in page and "<svg" not in page
    for anchor in ("gains", "slices", "curves", "training", "experts", "lineage"):
        assert f'id="{anchor}"' not in page and f'href="#{anchor}"' not in page


def test_a_task_without_rows():
    measured = pages.measured()
    measured["results"] = [r for r in measured["results"] if r["task"] == "click"]
    assert "no test row in this task's sample space" in evaluation.render(measured)


def test_the_largest_of_many_domains_are_shown():
    measured, domains = pages.measured(), 500
    one = measured["results"][3]
    measured["results"] = [
        one | {"value": f"tab {i}", "rows": 10_000 + i} for i in range(domains)
    ]
    page = evaluation.render(measured)
    assert f"tab {domains - 1}" in page.split('id="rules"')[0]
    assert "more domains" in page


def test_the_page_says_that_negatives_were_weighted():
    page = _page()
    assert "weighted by worth" in page
    assert page.count("negatives weighted: the logs have kept 0.1 of them") == 1
