"""Features and tasks from what the columns of a table hold."""

import datetime as dt

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

import tfmtl

ROWS = 400
RNG = np.random.default_rng(0)


def _table():
    tags = ["red", "green", "blue"]
    return pd.DataFrame(
        {
            "user": pd.array(RNG.integers(0, 130, ROWS), dtype="Int64"),
            "tab": RNG.choice(["new", "hot", "old"], ROWS, p=[0.2, 0.5, 0.3]),
            "colour": [None if i % 9 == 0 else tags[i % 3] for i in range(ROWS)],
            "liked_before": [[tags[j % 3] for j in range(i % 4)] for i in range(ROWS)],
            "price": np.exp(3 * RNG.normal(size=ROWS)),
            "visits": RNG.integers(0, 500, ROWS) * (RNG.random(ROWS) < 0.7),
            "is_new": RNG.random(ROWS) < 0.5,
            "request": [f"request {i}" for i in range(ROWS)],
            "seen_at": pd.date_range("2024-01-01", periods=ROWS, freq="h"),
            "always": "one",
            "embedding": list(RNG.normal(size=(ROWS, 2))),
            "paid": RNG.random(ROWS),
            "click": RNG.random(ROWS) < 0.4,
            "seconds": RNG.random(ROWS) * 30,
        }
    )


@pytest.fixture(scope="module")
def table():
    return _table()


def test_columns_become_what_they_hold(table):
    left_out = (
        "No features: 'request' .own., 'seen_at' .a time., 'always' .of one value"
    ).replace("own", "nearly every row has a value of its own")
    with pytest.warns(UserWarning, match=left_out):
        features, tasks = tfmtl.from_dataframe(
            table, ["click", "seconds"], ignore=["paid"]
        )
    assert [(task.name, task.kind) for task in tasks] == [
        ("click", "binary"),
        ("seconds", "regression"),
    ]
    by_name = {feature.name: feature for feature in features}
    assert [type(feature).__name__ for feature in features] == [
        "Categorical",
        "Categorical",
        "Categorical",
        "Sequence",
        "Numeric",
        "Numeric",
        "Categorical",
        "Vector",
    ]
    assert [*by_name] == [*table.columns[:7], "embedding"]
    assert by_name["tab"].vocabulary == ("hot", "old", "new")  # the most frequent first
    assert by_name["tab"].embedding_dim == 4
    assert set(by_name["user"].vocabulary) == set(table["user"])
    assert by_name["colour"].table_size == 4
    assert by_name["liked_before"].of == "colour"
    assert by_name["liked_before"].max_length == 3
    assert by_name["price"].boundaries[0] == pytest.approx(table["price"].min())
    assert sorted(by_name["is_new"].vocabulary) == [0, 1]


@pytest.mark.filterwarnings("ignore:No features")
def test_arrow_and_lists_are_declared_as_pandas_is(table):
    table = table.drop(columns="seen_at")
    expected = tfmtl.from_dataframe(table, ["click"])
    assert tfmtl.from_dataframe(pa.Table.from_pandas(table), ["click"]) == expected
    lists = {name: table[name].astype(object).tolist() for name in table}
    assert tfmtl.from_dataframe(lists, ["click"]) == expected


@pytest.mark.filterwarnings("ignore:No features")
def test_what_is_said_of_a_column_counts():
    table = pd.DataFrame(
        {
            "age": np.arange(300) % 80,
            "size": [0, 5] * 150 + [7] * 0,
            "code": np.arange(300) * (np.arange(300) % 3 > 0),
            "click": RNG.random(300) < 0.5,
        }
    )

    def kinds(**given):
        features, _ = tfmtl.from_dataframe(table, ["click"], **given)
        return {feature.name: type(feature) for feature in features}

    assert kinds() == {
        "age": tfmtl.Categorical,
        "size": tfmtl.Categorical,
        "code": tfmtl.Numeric,
    }
    assert kinds(numeric=["age"])["age"] is tfmtl.Numeric
    assert kinds(categorical=["code"])["code"] is tfmtl.Categorical


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("用户", ["a", "b"], "rename it to letters"),
        ("class", ["a", "b"], "rename it"),
        ("price", ["$1,234.50", "$7"], "numbers with a sign, such as '[$]1,234.50'"),
        ("discount", ["12.5%", "3 %"], "numbers with a sign"),
        ("born", [dt.date(2000, 1, 1), None], "a time"),
        ("month", pd.period_range("2024-01", periods=2), "a time"),
        ("shown", pd.date_range("2024-01-01", periods=2, tz="CET"), "a time"),
    ],
)
def test_what_is_no_feature_as_it_stands_says_what_to_do(name, values, reason):
    values = [*values] * 8
    table = {"tab": ["new", "hot"] * 8, name: values, "click": [0, 1, 1, 0] * 4}
    with pytest.warns(UserWarning, match=f"'{name}' .*{reason}"):
        features, _ = tfmtl.from_dataframe(table, ["click"])
    assert [feature.name for feature in features] == ["tab"]


def _outcomes():
    """Impressions, with what was known only after they were shown."""
    rng = np.random.default_rng(0)
    played = rng.random(ROWS) < 0.7
    click = rng.random(ROWS) < 0.4
    return {
        "tab": rng.choice(["new", "hot"], ROWS),
        "played": played,
        "click": click,
        "seconds": np.where(played, 40 * rng.random(ROWS), np.nan),
        "change": rng.normal(size=ROWS) * 100,
        "paid": np.where(click, rng.random(ROWS), 0),
        "page": np.where(click, "thanks", "shop"),
    }


def test_a_column_that_says_where_a_label_is_known_is_its_space():
    given = ["click", "seconds", "change"]
    features, tasks = tfmtl.from_dataframe(_outcomes(), given, ignore=["paid", "page"])
    assert [feature.name for feature in features] == ["tab"]
    click, seconds, change = tasks
    assert (seconds.space, seconds.loss[0].name, seconds.kind) == (
        "played",
        "log_mse",
        "regression",
    )
    assert seconds.weight < 0.5 and change.weight < 0.001 and click.weight == 1
    assert (change.space, change.loss[0].name) == (None, "mse")


@pytest.mark.parametrize("codes", [(0, 1), (1, 2)])
def test_an_action_that_is_no_label_is_no_feature_unless_asked(codes):
    click = RNG.random(ROWS) < 0.5
    table = {"tab": ["new", "hot"] * (ROWS // 2), "click": np.where(click, *codes)}
    table |= {"clicked_before": click[::-1], "buy": click & (RNG.random(ROWS) < 0.4)}
    with pytest.warns(UserWarning, match="'click' .called like an action, known only"):
        features, _ = tfmtl.from_dataframe(table, ["buy"])
    assert [f.name for f in features] == ["tab", "clicked_before"]
    features, _ = tfmtl.from_dataframe(table, ["buy"], categorical=["click"])
    assert "click" in [f.name for f in features]


def test_reactions_and_times_that_were_spent_are_known_only_later():
    video = RNG.integers(0, 50, ROWS)
    table = {
        "video": video,
        "play_seconds": 0.5 * video + 3,  # the length of each
        "share": RNG.random(ROWS) < 0.1,
        "shared_before": RNG.random(ROWS) < 0.1,
        "watch_seconds": RNG.exponential(9, ROWS),
        "avg_watch_seconds": RNG.exponential(9, ROWS),
        "click": RNG.random(ROWS) < 0.5,
    }
    later = "'share' .called like an action.*'watch_seconds' .called like a time that"
    with pytest.warns(UserWarning, match=later):
        features, _ = tfmtl.from_dataframe(table, ["click"])
    names = [f.name for f in features]
    assert names == ["video", "play_seconds", "shared_before", "avg_watch_seconds"]


@pytest.mark.parametrize("label", [[], [np.nan] * 3])
def test_a_label_without_a_number_is_told(label):
    table = {"tab": ["new", "hot", "new"][: len(label)], "click": np.array(label)}
    rule = f"'click' must have a number in some row. Received: {len(label)} rows"
    with pytest.raises(ValueError, match=rule):
        tfmtl.from_dataframe(table, ["click"])


def test_a_later_stage_of_a_funnel_is_learnt_from_an_earlier_one():
    rng = np.random.default_rng(0)
    click = rng.random(ROWS) < 0.5
    buy, like = click & (rng.random(ROWS) < 0.4), click & (rng.random(ROWS) < 0.4)
    table = {
        "tab": rng.choice(["new", "hot"], ROWS),
        "play": click | (rng.random(ROWS) < 0.5),
        "click": click,
        "buy": buy,
        "like": like,
        "spent": np.where(buy, rng.random(ROWS), 0),
    }
    labels = ["click", "buy", "like", "spent"]
    with pytest.warns(UserWarning, match="'play' .known only later: 'click' needs it"):
        features, tasks = tfmtl.from_dataframe(table, labels)
    spaces = {task.name: task.space for task in tasks}
    assert spaces == {"click": None, "buy": "click", "like": None, "spent": "buy"}
    assert [feature.name for feature in features] == ["tab"]


def test_columns_that_tell_a_label_are_left_out_unless_they_are_asked_for():
    table, given = _outcomes(), {"ignore": ["played", "seconds", "change"]}
    message = "'paid' .missing or 0 wherever 'click' is 0., 'page' .ranks 'click' alone"
    with pytest.warns(UserWarning, match=message):
        features, _ = tfmtl.from_dataframe(table, ["click"], **given)
    assert [feature.name for feature in features] == ["tab"]
    features, _ = tfmtl.from_dataframe(
        table, ["click"], numeric=["paid"], categorical=["page"], **given
    )
    assert [feature.name for feature in features] == ["tab", "paid", "page"]


def test_many_values_share_rows():
    ids = np.r_[np.arange(60_000), np.arange(50_000)]
    table = {"user": ids, "click": np.arange(110_000) * 7 % 11 % 2}
    (user,), _ = tfmtl.from_dataframe(table, ["click"])
    assert (len(user.vocabulary), user.oov_buckets) == (50_000, 1_000)
    assert set(user.vocabulary) == set(range(50_000))  # those seen twice


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({}, {"labels": ["clik"]}, "no column 'clik'. Did you mean 'click'"),
        ({}, {"labels": "click"}, "a list of columns"),
        ({}, {"labels": []}, "a list of columns"),
        ({}, {"labels": ["tab"]}, "Label 'tab' takes numbers"),
        (
            {"click": [1, 2] * 4},
            {"labels": ["click"]},
            r"Received: 1 and 2; give it as by: columns\['click'\] == 2",
        ),
        ({}, {"labels": ["click"], "numeric": ["tab"]}, "must hold numbers"),
        ({}, {"labels": ["click"], "categorical": ["x"]}, "whole numbers or texts"),
        (
            {"tab": ["a"] * 8, "x": [1.0] * 8},
            {"labels": ["click"]},
            "none; left out: 't",
        ),
    ],
)
def test_what_cannot_be_declared_is_told(change, given, message):
    table = {"tab": ["a", "b"] * 4, "x": np.arange(8) / 3, "click": [0, 1] * 4}
    with pytest.raises(ValueError, match=message):
        tfmtl.from_dataframe({**table, **change}, **given)
    with pytest.raises(ValueError, match="takes a DataFrame"):
        tfmtl.from_dataframe([1, 2], labels=["click"])


def test_columns_of_one_name_are_refused(table):
    twice = pd.concat([table, table[["user"]]], axis=1)
    with pytest.raises(ValueError, match="Twice: .*user"):
        tfmtl.from_dataframe(twice, labels=["click"])


@pytest.mark.filterwarnings("ignore:No features")
def test_a_table_is_learnt_from_and_served(table, tmp_path):
    train, test = table[:300], table[300:].reset_index(drop=True)
    features, tasks = tfmtl.from_dataframe(train, ["click", "seconds"], ignore=["paid"])
    model = tfmtl.models.get("mmoe")(features, tasks, experts=2, expert_units=(8,))
    model.compile(run_eagerly=True)
    history = model.fit(train, validation_data=test, epochs=2, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    expected = model.predict(test, verbose=0)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(test)["click"], expected["click"])

    tfmtl.export(model, tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    row = {
        "user": tf.constant([int(test["user"][5])], tf.int64),
        "tab": tf.constant([test["tab"][5]]),
        "colour": tf.constant([test["colour"][5] or ""]),
        "liked_before": tf.constant([(test["liked_before"][5] + [""] * 3)[:3]]),
        "price": tf.constant([test["price"][5]], tf.float32),
        "visits": tf.constant([test["visits"][5]], tf.float32),
        "is_new": tf.constant([int(test["is_new"][5])], tf.int64),
        "embedding": tf.constant([test["embedding"][5]], tf.float32),
    }
    np.testing.assert_allclose(
        served(**row)["click"][0], expected["click"][5], rtol=1e-5
    )
