"""Continued training by days: the order of its steps, and what is known of each day.

Measuring and training stand in for themselves here; test_days_on_the_feed.py has them.
"""

import json
import re
from pathlib import Path

import pytest
from conftest import raw_config

from pipeline.artifacts import blessing, pushed
from pipeline.cli import days as command
from pipeline.components.evaluator.component import Misfit
from pipeline.config import Config, dated
from pipeline.days import day as days
from pipeline.days import records
from pipeline.errors import PipelineError
from pipeline.report import days as page

RENDER = page.render  # which draws, and so takes its time


class Killed(Exception):
    pass


@pytest.fixture
def team(tmp_path, monkeypatch):
    """A pipeline of which it is written down what is asked of it."""
    return _Team(tmp_path, monkeypatch)


class _Team:
    def __init__(self, folder, patch):
        self.folder, self.done, self.refuses, self.kill = folder, [], False, None
        self.misfit, self.seen = None, ""
        patch.setattr("pipeline.comparison.evaluate.evaluate", self._evaluate)
        patch.setattr(days, "run_held", self._run)
        patch.setattr(page, "render", json.dumps)

    def day(self, text, **kept):
        data = {
            "logs": [f"{self.folder}/%Y-%m-%d/*.csv"],
            "split": {"by": "hash", "column": "user"},
            "window": kept.pop("window", 1),
        }
        sections = {
            "workspace": str(self.folder / "work"),
            "push": {"destination": str(self.folder / "served")},
        }
        raw = raw_config(data, **sections)
        return command.run(Config.model_validate(raw), text, **kept)

    def board(self):
        file = self.folder / "work" / "days" / "days.json"
        assert (file.parent / "report.html").stat().st_size
        return json.loads(file.read_text())

    def records(self):
        return {record["day"]: record for record in self.board()["days"]}

    def _evaluate(self, config, model, rows, output, against_served):
        assert not against_served
        if self.misfit:
            raise Misfit(self.misfit)
        self.done.append(("judge", model.name, [Path(r).parent.name for r in rows]))
        if self.kill == "judge":
            raise Killed
        auc = 0.6 + int(model.name) / 100
        record = {"task": "click", "slice": "all", "too_few": None}
        record["model"] = {"auc": auc, "intervals": {"auc": [auc - 0.01, auc + 0.02]}}
        tasks = [{"name": "click", "metric": "auc"}]
        Path(output).mkdir(parents=True)
        measured = {"results": [record], "tasks": tasks}
        (Path(output) / "metrics.json").write_text(json.dumps(measured))
        return {"rows": 100, "has_seen_test": self.seen}

    def _run(self, config, cache, report, overrides, name):
        from_, logs = config.train.warm_start, config.data.logs
        base = from_ and Path(from_).name
        self.done.append(("train", base, [Path(p).parent.name for p in logs]))
        if self.kill == "train":
            raise Killed
        folder = self.folder / "run" / name
        folder.mkdir(parents=True, exist_ok=True)
        path = None
        if not self.refuses:
            served = self.folder / "served"
            path = served / str(len(list(served.glob("*"))) + 1)
            path.mkdir(parents=True)
        pushed.write(folder, path)
        blessing.write(folder, ["it lost"] if self.refuses else [])
        names = ("pushed_model", "blessing", "infra_blessing")
        return dict.fromkeys(names, folder)


def test_a_day_judges_the_served_model_before_it_trains_from_it(team, capsys):
    for day in ("2024-02-28", "2024-02-29", "2024-03-01"):
        assert team.day(day)
    assert team.done == [
        ("train", None, ["2024-02-28"]),
        ("judge", "1", ["2024-02-29"]),
        ("train", "1", ["2024-02-29"]),
        ("judge", "2", ["2024-03-01"]),
        ("train", "2", ["2024-03-01"]),
    ]
    out = capsys.readouterr().out
    assert "warning" not in out
    last = out.split("day ")[-1]
    assert "2024-02-28: no model is served yet" in last
    assert re.search(r"2024-03-01 +2 +100 +0.6200 \(0.6100 to 0.6400\) +3", last)
    # Two days of 0.61 and 0.62: t is 12.706 at 97.5 %, the standard error 0.005.
    assert re.search(r"mean +0.6150 \(0.5515 to 0.6785\)", last)
    html = RENDER(team.board())
    assert "<td>0.6200" in html and html.count("<svg") == 1 and "http" not in html


def test_a_window_trains_on_the_days_before_too(team):
    team.day("2024-03-01", window=3)
    team.day("2024-03-02", window=3)
    assert team.done == [
        ("train", None, ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("judge", "1", ["2024-03-02"]),
        ("train", "1", ["2024-02-29", "2024-03-01", "2024-03-02"]),
    ]


@pytest.mark.parametrize("kill", ["judge", "train"])
def test_a_killed_day_goes_on(team, kill):
    team.day("2024-03-01")
    team.kill = kill
    with pytest.raises(Killed):
        team.day("2024-03-02")
    team.kill = None
    del team.done[:]
    assert team.day("2024-03-02")
    steps = [step for step, *_ in team.done]
    assert steps == (["judge", "train"] if kill == "judge" else ["train"])
    del team.done[:]
    assert team.day("2024-03-02") and team.done == []  # complete
    assert team.day("2024-03-02", cache=False)
    assert [step for step, *_ in team.done] == ["train"]


def test_one_killed_after_its_push_starts_from_the_same_model(team, monkeypatch):
    team.day("2024-03-01")
    with monkeypatch.context() as patch:
        patch.setattr(pushed, "read", lambda folder: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            team.day("2024-03-02")
    monkeypatch.setattr(days, "_pushed", lambda *_: {team.folder / "served" / "2"})
    team.day("2024-03-02")
    assert team.done[-1][:2] == ("train", "1")


def test_days_that_are_missing_or_out_of_order_are_said(team, capsys):
    team.day("2024-03-01")
    team.day("2024-03-06")
    out = capsys.readouterr().out
    rule = "warning: nothing was trained on 2024-03-02, 2024-03-03, 2024-03-04 and 1"
    assert rule in out
    assert "Not trained on: 2024-03-02, 2024-03-03, 2024-03-04, 2024-03-05." in out
    team.day("2024-03-03")
    out = capsys.readouterr().out
    assert "warning: out of order: 2024-03-06 is trained on already" in out
    assert "2024-03-03 †" in out and "† it came after 2024-03-06" in out
    assert re.search(r"mean +0.6100\n", out)  # of 2024-03-06 alone
    assert "after 2024-03-06" in RENDER(team.board())


def test_a_day_whose_rows_may_be_known_is_said(team, capsys):
    team.seen = None
    team.day("2024-03-01")
    assert "cannot be told" not in capsys.readouterr().out  # nothing was measured
    team.day("2024-03-02")
    said = "learnt from the rows of 2024-03-02 cannot be told"
    assert said in capsys.readouterr().out and said in RENDER(team.board())
    team.seen = "it has learnt from rows up to time = 7"
    team.day("2024-03-03")
    out = capsys.readouterr().out
    assert "2024-03-03 †" in out and "2024-03-02 †" not in out


def test_three_missing_days_are_all_named(team, capsys):
    team.day("2024-03-01")
    team.day("2024-03-05")
    rule = "warning: nothing was trained on 2024-03-02, 2024-03-03, 2024-03-04\n"
    assert rule in capsys.readouterr().out


def test_a_refused_day_leaves_what_is_served(team, capsys):
    team.day("2024-03-01")
    team.refuses = True
    assert not team.day("2024-03-02")
    assert "refused" in capsys.readouterr().out
    assert team.records()["2024-03-02"]["reasons"] == ["it lost", "it lost"]
    team.refuses = False
    team.day("2024-03-03")
    assert team.done[-1][:2] == ("train", "1")


def test_a_served_model_without_a_task_is_not_measured(team, capsys):
    team.day("2024-03-01")
    team.misfit = "the model must predict every task. It lacks ['like']"
    assert team.day("2024-03-02")
    assert "2024-03-02: the model must predict every task" in capsys.readouterr().out


def test_days_and_hours_do_not_mix(team):
    team.day("2024-03-01")
    with pytest.raises(PipelineError, match="all be days, or all hours"):
        records.begin(team.folder / "work", dated.parse("2024-03-01T05"))


def test_paths_must_name_the_day(team):
    with pytest.raises(PipelineError, match="must name the day.*'.*%d/\\*.csv'"):
        team.day("2024-03-01T05")  # %H is not in them
    for text in ("2024-3-1", "2024-02-30", "yesterday"):
        with pytest.raises(PipelineError, match="a day is written as 2024-05-02"):
            team.day(text)


def test_tables_and_actions_are_of_the_day_too():
    actions = [{"name": "buy", "logs": "b/%Y%m%d/%H.csv", "key": "user", "time": "t"}]
    actions[0]["window"] = "1h"
    tables = [{"name": "users", "logs": "users.csv", "key": "user"}]
    data = {"logs": ["a/%Y/%m/%d"], "time": "t", "actions": actions, "tables": tables}
    config = Config.model_validate(raw_config(data))
    found = dated.of_periods(config.data, [dated.parse("2024-03-01")])
    assert found.logs == ["a/2024/03/01"]
    assert found.actions[0].logs == ["b/20240301/[0-9][0-9].csv"]
    assert found.tables[0].logs == ["users.csv"]
