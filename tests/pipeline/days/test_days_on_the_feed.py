"""Three days of the simulated feed, each judged by the model of the day before."""

import datetime
import json

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from small_feed import FEED, overrides

from pipeline.__main__ import main
from pipeline.datasets import feed


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A folder with a file of impressions a day."""
    folder = tmp_path_factory.mktemp("logs")
    made = tmp_path_factory.mktemp("feed")
    feed.generate(made, impressions=40_000, seed=3)
    table = pq.read_table(made)
    number = pc.divide(pc.subtract(table["timestamp"], feed.START), 86_400)
    for i in range(3):
        day = datetime.date(2022, 9, 11) + datetime.timedelta(days=i)
        pq.write_table(table.filter(pc.equal(number, i)), folder / f"{day}.parquet")
    return folder


@pytest.mark.slow
def test_each_day_is_judged_by_the_model_of_the_day_before(logs, tmp_path, capsys):
    changes = {
        "data.source": "null",
        "data.options": "{}",
        "data.logs": logs / "%Y-%m-%d.parquet",
        "train.epochs": 1,
        "train.batch_size": 128,
        "train.learning_rate": 0.01,
        "evaluate.default_rules": "[plausible]",  # a day's test rows are few
        "evaluate.minimum": "{}",
        "evaluate.importance": "null",
    }
    command = ["run", str(FEED), "--day"]
    settings = [w for o in overrides(tmp_path, **changes) for w in ("--set", o)]
    for day in ("2022-09-11", "2022-09-12", "2022-09-13"):
        assert main([*command, day, *settings]) == 0
    assert "more of the model to start from" in capsys.readouterr().out
    found = json.loads((tmp_path / "days" / "days.json").read_text())
    first, second, third = found["days"]
    assert first["not_measured"] == "no model is served yet"
    assert [d["pushed"] for d in found["days"]] == [1, 2, 3]
    assert [d["served"] and d["served"][-1] for d in found["days"]] == [None, "1", "2"]
    rows = [pq.read_metadata(file).num_rows for file in sorted(logs.iterdir())]
    assert [d["rows"] for d in found["days"]] == [None, *rows[1:]]
    assert all(day["tasks"]["click"]["low"] > 0.55 for day in (second, third))
    assert [day["has_seen"] for day in found["days"]] == [""] * len(found["days"])
    assert found["mean"]["click"]["days"] == 2
    users = [
        (tmp_path / f"served/{version}/assets/user_id.txt").read_bytes().count(b"\n")
        for version in (1, 2, 3)
    ]
    assert users == sorted(set(users))  # the vocabulary grows
    card = json.loads((tmp_path / "served/3/assets.extra/model_card.json").read_text())
    assert card["data"]["split"]["by"] == "time"
