"""A feature `item_*` is one for each column that matches, and stays so."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config, raw_config

from pipeline import wildcards
from pipeline.__main__ import main
from pipeline.errors import ConfigError

NUMBER = {"name": "item_*", "kind": "numeric"}


@pytest.fixture
def expanded(tmp_path):
    """Expands features over a log; returns them as {name: (column, kind)}."""

    def run(*features, columns=("user", "item_a", "item_b", "click"), **sections):
        rows = {name: [1.0, 0.0] for name in columns}
        pq.write_table(pa.table(rows), tmp_path / "log.parquet")
        data = {"logs": f"{tmp_path}/*.parquet", **sections.pop("data", {})}
        sections = {"workspace": str(tmp_path / "work"), **sections}
        config = make_config(data, features, **sections)
        config = wildcards.expand(config)
        assert not any("*" in feature.name for feature in config.features)
        return {f.name: (f.source, f.kind) for f in config.features}

    return run


def test_it_takes_the_columns_that_match(expanded):
    assert expanded("user", NUMBER) == {
        "user": ("user", "categorical"),
        "item_a": ("item_a", "numeric"),
        "item_b": ("item_b", "numeric"),
    }


def test_names_may_differ_from_columns(expanded):
    feature = {"name": "i.*.x", "column": "item_*", "kind": "numeric"}
    found = expanded("user", feature)
    assert found["i.a.x"] == ("item_a", "numeric")


def test_an_entry_of_its_own_and_an_earlier_wildcard_win(expanded):
    own = {"name": "b", "column": "item_b", "kind": "categorical"}
    found = expanded(NUMBER, {"name": "*", "kind": "categorical"}, own)
    assert found == {
        "item_a": ("item_a", "numeric"),
        "user": ("user", "categorical"),
        "b": ("item_b", "categorical"),
    }


def test_what_is_known_only_later_and_the_time_are_left_out(expanded):
    columns = ["user", "item_a", "item_w", "item_buy", "item_m", "item_t", "click"]
    found = expanded(
        {"name": "*", "kind": "numeric"},
        columns=columns,
        data={
            "labels": {"long": "item_w > 3"},
            "split": {"by": "time", "column": "item_t"},
        },
        tasks=[
            "click",
            "long",
            {"name": "buy", "label": "item_buy", "space": "item_m"},
        ],
    )
    assert list(found) == ["user", "item_a"]


def test_the_columns_of_tables(expanded, tmp_path):
    (tmp_path / "users.csv").write_text("id,age,city\nu1,3,rome\n")
    table = {"name": "users", "logs": f"{tmp_path}/users.csv", "key": {"user": "id"}}
    feature = {"name": "u_*", "column": "users.*", "kind": "categorical"}
    found = expanded(feature, data={"tables": [table]})
    assert found["u_age"] == ("users.age", "categorical")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (
            [{"name": "itm_*", "kind": "numeric"}],
            "no column of the logs matches 'itm_*'",
        ),
        (["item_a", "item_b", NUMBER], "are named elsewhere in the config: item_a"),
        (
            [{**NUMBER, "name": "item_*x", "column": "*k"}],
            "name: a name starts with a letter",
        ),
    ],
)
def test_what_cannot_be_expanded_is_told(features, expected, expanded):
    columns = ["user", "item_a", "item_b", "click", "a bk"]
    with pytest.raises(ConfigError) as error:
        expanded(*features, columns=columns)
    assert expected in str(error.value)


def test_a_star_in_the_name_alone_is_refused():
    with pytest.raises(ValueError, match="`column` must have one, too"):
        make_config(features=[{**NUMBER, "column": "item"}])


def test_only_what_all_files_have_matches(expanded, tmp_path):
    more = pa.table({name: [1.0] for name in ("user", "item_b", "item_c", "click")})
    pq.write_table(more, tmp_path / "more.parquet")
    assert list(expanded(NUMBER)) == ["item_b"]


def test_columns_of_json_lines_are_those_of_the_first_rows(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"item_a": 1}\n{"item_b": 2, "click": 1}\n')
    data = {"logs": f"{tmp_path}/log.jsonl"}
    config = make_config(data, [NUMBER], workspace=str(tmp_path / "work"))
    names = [feature.name for feature in wildcards.expand(config).features]
    assert names == ["item_a", "item_b"]


def test_a_column_that_comes_later_changes_nothing(expanded, tmp_path):
    first = expanded(NUMBER)
    later = ["user", "item_a", "item_b", "item_c", "click"]
    assert expanded(NUMBER, columns=later) == first
    (tmp_path / "work" / "wildcards.json").unlink()
    assert "item_c" in expanded(NUMBER, columns=later)


def test_commands_expand_and_check_keeps_nothing(tmp_path, capsys):
    lines = [f"u{i},{i % 5},{i % 2},{i % 3 % 2}" for i in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item_a,item_b,click", *lines]))
    data = {"logs": f"{tmp_path}/log.csv"}
    raw = raw_config(data, ["user", NUMBER], workspace=f"{tmp_path}/work")
    # What names a feature that a wildcard makes is no fault.
    raw["export"] = {"user_features": ["item_a"]}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(raw))
    assert main(["check", str(path)]) == 0
    assert not (tmp_path / "work").exists()
    assert main(["preprocess", str(path)]) == 0
    (made,) = (tmp_path / "work").glob("Transform/transform_graph/*/features.json")
    assert list(json.loads(made.read_text())) == ["user", "item_a", "item_b"]
    capsys.readouterr()
    path.write_text(path.read_text().replace("item_*", "itm_*"))
    assert main(["check", str(path)]) == 2
    assert "no column of the logs matches 'itm_*'" in capsys.readouterr().err
