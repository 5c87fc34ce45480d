"""The pages to choose among models by: of a comparison, and of a sweep."""

import re

import pages
import pytest

from pipeline.report import leaderboard


@pytest.fixture(scope="module")
def comparison():
    return leaderboard.of_comparison(pages.comparison())


@pytest.fixture(scope="module")
def sweep():
    return leaderboard.of_sweep(pages.sweep())


def _row(page, name):
    """The cells of the row of a model in the leaderboard."""
    row = re.search(rf"<tr><td>\d+\. {re.escape(name)}.*?</tr>", page, re.DOTALL)[0]
    return [" ".join(c.split()) for c in re.findall("<td.*?</td>", row, re.DOTALL)]


def test_a_page_needs_nothing_else(comparison, sweep):
    for page in (comparison, sweep):
        assert "http" not in page and "<script" not in page and "@import" not in page
        assert len(page) < 1_000_000
    assert "<i>at</i>" not in comparison and "took more than &lt;4 GB&gt;" in sweep


def test_metrics_gains_and_costs_of_a_comparison(comparison):
    _, click, buy, minutes, costs = _row(comparison, "work@1")
    assert 'class="up"' in click and "0.7100" in click and "0.690 to 0.720" in click
    assert "▲ +0.0100, p&nbsp;0.010" in click and "+0.0000 to +0.0200" in click
    assert "too few<small>6 of the 10 positives</small>" in buy and "0.9" not in buy
    assert 'class="down"' in minutes and "▼ −0.0100, p&nbsp;&lt; 0.001" in minutes
    assert "1,000" in costs and "1.5 s" in costs
    assert _row(comparison, "work@2")[1].startswith("<td>0.7200")  # p = 0.2
    assert _row(comparison, "work@2")[-1] == "<td>–</td>"  # nobody knows its costs
    assert "+" not in _row(comparison, "work@0")[1]


def test_a_model_that_may_have_seen_the_test_rows_is_marked(comparison):
    top = comparison.split("<nav>")[0]
    assert "† work@1 may have learnt from these test rows" in top
    assert "up to &lt;i&gt;at&lt;/i&gt; = 7" in top
    assert "cannot be told: work@2." in top
    marked = [name for name in range(3) if "†" in _row(comparison, f"work@{name}")[0]]
    assert marked == [1]


def test_seesaws_are_against_the_first(comparison):
    assert "click and minutes against 1. home" in comparison
    assert "2. $x_1$" in comparison  # place, and architecture
    assert "click and buy" not in comparison  # too few rows


def test_chosen_models_trials_and_failures_of_a_sweep(sweep):
    board, trials = sweep.split('id="trials"')
    first, loss, click, *_ = _row(board, "arch1 0")
    assert "train.learning_rate 0.002588" in first and "model.units [64, 32]" in first
    assert "2.0500" in loss and "1.950 to 2.150" in loss
    assert "0.7100" in click and "0.610 to 0.810" in click and "▲ +0.0010" in click
    assert "arch1 1" not in board.split('id="leaderboard"')[1]
    assert "<b>arch1 0</b><small>chosen</small>" in trials and "arch1 1" in trials
    assert "took more than" in trials.split('id="failed"')[1]


def test_trials_of_which_all_are_chosen_stand_once(sweep):
    board = pages.sweep(3)
    board["models"] = board["models"][:3]
    page = leaderboard.of_sweep(board)
    assert 'id="trials"' in sweep and 'id="trials"' not in page
    assert 'href="#trials"' not in page


def test_what_is_deleted_of_a_sweep_is_told(sweep):
    assert "arch2 0: the model of seed 1 is deleted; what was measured before" in sweep
    board = pages.sweep(3)
    board["models"][2]["test"] = {}
    page = leaderboard.of_sweep(board)
    assert "arch2 0: the model of seed 1 is deleted; it was not measured" in page
    assert _row(page, "arch2 0")[2] == '<td class="soft">–</td>'
