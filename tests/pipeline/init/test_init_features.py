"""Columns become features by what they hold and are called."""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from small_logs import ROWS, drafted, features, reasons, sampled

from pipeline.config import Config
from pipeline.init.draft import Asked, draft
from pipeline.init.features import categorical
from pipeline.init.profiles import profiles
from pipeline.init.text import write

RNG = np.random.default_rng(1)
FEW = RNG.integers(0, 7, ROWS)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("user_id", RNG.integers(0, 1500, ROWS), "categorical"),
        ("city", np.array(["rome", "oslo"])[FEW % 2], "categorical"),
        ("is_vip", FEW % 2, "categorical"),
        ("hour", RNG.integers(0, 24, ROWS), "categorical"),
        ("zip_code", RNG.integers(10_000, 10_900, ROWS), "categorical"),
        ("level", FEW, "categorical"),  # few whole numbers, of no telling name
        ("author_followers", RNG.integers(0, 50, ROWS), "numeric"),
        ("count", FEW, "numeric"),
        ("ctr", RNG.random(ROWS), "numeric"),
        ("balance", RNG.integers(-500, 500, ROWS), "numeric"),
        ("x", RNG.integers(0, 2, ROWS) * RNG.integers(0, 900, ROWS), "numeric"),
        ("x", np.arange(ROWS) % 500, "categorical"),  # 0 as often as all, if first
    ],
)
def test_kinds(name, values, kind):
    found = drafted(**{name: values})
    assert features(found)[name]["kind"] == kind


@pytest.mark.parametrize(
    "values",
    [
        [[0.5, 0.25], [1.0, 0.5]],
        ["[0.5, 0.25]", "[0.1, 1.0]"],
        ["[0.5  0.25]", "[0.1 1.  ]"],
        ["[np.float64(0.5), np.float64(0.25)]", "[np.float64(0.1), np.float64(1.0)]"],
        ["0.5|0.25", "1.5|2"],
    ],
)
def test_lists_of_equally_many_fractions_are_vectors(values):
    found = features(drafted(cover=values * (ROWS // 2)))
    assert found["cover"]["kind"] == "vector" and found["cover"]["dim"] == 2


def test_amounts_of_which_a_few_are_large_are_scaled_by_their_logarithm():
    found = features(drafted(x=RNG.lognormal(0, 2, ROWS), y=RNG.normal(0, 1, ROWS)))
    assert found["x"]["scaling"] == "log1p_zscore"
    assert "scaling" not in found["y"]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("request_id", [f"r{i // 3}" for i in range(ROWS)], "does not come again"),
        ("token", [f"t{i}" for i in range(ROWS)], "a value of its own"),
        ("created", ["2026-11-30 07:30:00"] * (ROWS - 1) + ["2026-12-01"], "a time"),
        ("day", 20261101 + FEW, "a time"),
        ("version", ["1.2"] * ROWS, "always '1.2'"),
        ("nothing", pa.nulls(ROWS), "no value"),
        ("", FEW, "without a name"),
        ("vector", [[0.5, 0.25], [0.5]] * (ROWS // 2), "not as many in each row"),
        ("written", ["0.5 0.25", "0.1 1.0"] * (ROWS // 2), "or not as 0.5|0.2"),
        ("price", ["12 345,60", "7,5"] * (ROWS // 2), "with blanks in them"),
        ("price", ["12\u00a0345", "900"] * (ROWS // 2), "such as '12\\xa0345'"),
        ("title", [f"{i} words " * 9 for i in RNG.integers(0, 900, ROWS)], "long text"),
        ("place", [{"city": "rome"}] * ROWS, "nested"),
        ("price", ["$1,234.50", "$7"] * (ROWS // 2), "such as '$1,234.50'"),
        ("paid", ["12 €", None] * (ROWS // 2), "such as '12 €'"),
        ("discount", ["12.5%", "0%"] * (ROWS // 2), "write the number alone"),
        ("birthday", [datetime.date(2000, 1, 1 + i) for i in FEW], "a time"),
    ],
)
def test_what_is_no_feature_says_why(name, values, reason):
    found = drafted(**{name: values})
    assert reason in reasons(found)[name]
    assert name not in features(found)


def test_headers_that_are_no_names_get_one():
    lists = [["501", "502"]] * ROWS
    found = drafted(**{"101": FEW, "user id": FEW + 500, "seen ids": lists, "p": FEW})
    of = features(found)
    assert of["101"]["name"] == "column_101" and of["101"]["column"] == "101"
    assert of["user id"]["name"] == "user_id_"  # there is another user_id
    assert of["seen ids"]["of"] == "user_id_" and "column" not in of["p"]


def test_headers_of_other_scripts_are_called_by_their_place():
    of = features(drafted(**{"用户": FEW, "标签": FEW, "prix_été": FEW, "id用户": FEW}))
    first = int(of["用户"]["name"].removeprefix("column_"))
    assert [of[name]["name"] for name in ("标签", "prix_été", "id用户")] == [
        f"column_{first + 1}",
        "prix_ete",
        "id",
    ]


def test_a_country_called_na_is_told_from_no_value():
    countries = ["NA", "DE", "ZA", "FR"] * (ROWS // 4)
    found = drafted(country=countries, size=["NA", "XL", "small", "M"] * (ROWS // 4))
    said = {choice.name: choice.reason for choice in found.choices}
    assert "data.verbatim: [country]" in said["country"]
    assert "verbatim" not in said["size"]


@pytest.mark.parametrize("name", ["class", "self"])
def test_headers_that_cannot_be_served_get_a_name_that_can(name):
    feature = features(drafted(**{name: FEW}))[name]
    assert (feature["name"], feature["column"]) == (f"{name}_", name)


def test_a_list_is_of_the_column_that_has_its_items():
    lists = [[f"i{i}", f"i{i + 1}", "i7"] for i in RNG.integers(0, 39, ROWS)]
    found = drafted(
        seen=lists,
        written=["|".join(items) for items in lists],
        spaced=[" ".join(items) for items in lists],
        tags=[["a", "b"]] * ROWS,
    )
    sequence = {"kind": "sequence", "of": "item_id", "max_length": 3}
    of = features(found)
    assert of["seen"] == {"name": "seen", **sequence}
    assert of["written"] == {"name": "written", **sequence}
    assert of["spaced"] == {"name": "spaced", **sequence, "separator": " "}
    tags = {"kind": "multivalued", "embedding_dim": 4, "max_length": 2}
    assert of["tags"] == {"name": "tags", **tags}  # of a table of its own


def test_values_with_weights_are_known_by_their_form():
    rows = ["sport:0.5|music:1.25", "news:0.1"] * (ROWS // 2)
    lists = [row.split("|") for row in rows]
    found = drafted(topics=rows, tags=lists, hours=["9:30|10:45", "9:30"] * (ROWS // 2))
    of = features(found)
    assert of["topics"]["weighted"] and of["tags"]["weighted"]
    assert of["topics"]["kind"] == "multivalued" and of["topics"]["max_length"] == 2
    assert "weighted" not in of["hours"]


def test_a_long_list_that_no_other_row_has_is_a_list():
    lists = ["|".join(f"i{i}" for i in RNG.integers(0, 40, 20)) for _ in range(ROWS)]
    assert len(set(lists)) == ROWS
    found = features(drafted(watched=lists))["watched"]
    assert (found["kind"], found["max_length"]) == ("sequence", 20)


def test_a_text_whose_words_are_ids_by_chance_is_no_list():
    titles = [f"i{i} of {i % 3}" for i in RNG.integers(0, 40, ROWS)]
    assert features(drafted(title=titles))["title"]["kind"] == "categorical"


def test_the_table_follows_from_how_many_values_there_are():
    few = features(drafted())["item_id"]
    many = features(drafted(item_id=RNG.integers(0, 1900, ROWS)))["item_id"]
    assert "vocabulary" not in few and "hash_buckets" not in few
    assert many["vocabulary"] == {"min_count": 2}


def test_a_sample_that_shows_new_values_all_the_time_gets_hashes():
    ids = pa.table({"item_id": RNG.integers(0, 10**6, 30_000)})
    profile = profiles(ids)["item_id"]
    assert categorical(profile, unseen=1.0)["vocabulary"] == {"min_count": 2}
    buckets = categorical(profile, unseen=20.0)["hash_buckets"]
    assert 10**6 <= buckets < 3 * 10**6


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.5, None] * (ROWS // 2), pa.float16()),
        pa.array([decimal.Decimal("1.50")] * ROWS),
        pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
        pa.array([b"\xff", b"a"] * (ROWS // 2)),
        pa.array([b"ab"] * ROWS, pa.binary(2)),
        pa.array([True, False] * (ROWS // 2)),
        pa.array([2**63 + 1] * ROWS, pa.uint64()),
        pa.array([datetime.time(7, 30)] * ROWS),
        pa.array([datetime.timedelta(seconds=7)] * ROWS),
        pa.array([datetime.datetime(2026, 1, 1)] * ROWS, pa.timestamp("ns", "UTC")),
        pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
        pa.array([[1], [], None, [2, 3]] * (ROWS // 4)),
        pa.array([[["a"]]] * ROWS),
        pa.array([[1.5, None]] * ROWS, pa.list_(pa.float32(), 2)),
        pa.array([["i1"], None] * (ROWS // 2), pa.large_list(pa.large_string())),
        pa.array([float("inf"), float("nan"), -0.0, 1e300] * (ROWS // 4)),
        pa.array([[{"a": 1}]] * ROWS),
        pa.array([float("inf")] * ROWS),
        pa.array(["", " ", "NA", None] * (ROWS // 4)),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("name", ["x", "watch_ms", "rating", "liked", "time", ""])
def test_any_type_under_any_name_is_a_feature_a_label_or_has_a_reason(name, values):
    sample = sampled(**{name: values})
    found = draft(sample, Asked())
    of = {c.name: c for c in found.choices}[name]
    assert of.feature or of.reason
    text = write(found, sample, Path("shop.yaml"), None)
    config = Config.model_validate(yaml.safe_load(text))
    assert not list(config.problems())


def test_lists_that_pandas_wrote_into_a_csv():
    lists = [f"['i{i % 40}', 'i3']" for i in range(ROWS)]
    found = features(drafted(seen=lists))["seen"]
    assert found == {"name": "seen", "kind": "sequence", "of": "item_id"} | {
        "max_length": 2
    }


def test_ids_that_have_lost_digits_are_neither_feature_nor_group():
    found = drafted(user_id=1e18 + 1e4 * RNG.integers(0, 90, ROWS))
    assert "has lost digits" in reasons(found)["user_id"]
    assert found.user is None


def test_a_list_of_ids_that_users_have_too_is_one_of_items():
    ids = [str(i % 40) for i in range(ROWS)]
    viewed = [[ids[i], ids[i - 1]] for i in range(ROWS)]
    found = features(drafted(item_id=ids, viewed=viewed))["viewed"]
    assert (found["kind"], found["of"]) == ("sequence", "item_id")
