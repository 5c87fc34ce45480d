"""ExampleValidator: each thing it must find is put into real examples."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from pipeline.artifacts.statistics import read
from pipeline.components.example_validator import component, drift
from pipeline.components.example_validator.component import example_validator
from pipeline.components.schema_gen import schema_gen
from pipeline.components.statistics_gen import statistics_gen
from pipeline.errors import PipelineError

SECTIONS = {
    "data": {"split": {"by": "hash", "column": "request"}},
    "features": [
        "tab",
        {"name": "age", "kind": "numeric"},
        {"name": "spend", "kind": "numeric"},
        {"name": "watched", "kind": "sequence", "of": "tab"},
    ],
    "tasks": [
        "click",
        {"name": "like", "space": "click"},
        {"name": "seconds", "kind": "regression"},
    ],
}
CONFIG = make_config(**SECTIONS)
ROWS = 1000


def rows(seed):
    rng = np.random.default_rng(seed)
    return {
        "request": np.arange(ROWS),
        "tab": rng.choice(["home", "search"], ROWS),
        "age": rng.integers(18, 90, ROWS).astype(float),
        "spend": rng.exponential(9.0, ROWS),
        "watched": pa.array([["home"] * (i % 4) for i in range(ROWS)]),
        "click": (rng.random(ROWS) < 0.3).astype(float),
        "like": (rng.random(ROWS) < 0.1).astype(float),
        "seconds": rng.exponential(9.0, ROWS),
    }


class Artifacts:
    """Statistics and schema of examples, made by the real components."""

    def __init__(self, folder, change, config=CONFIG):
        self.folder, self.config = folder, config
        for name in ("examples", "statistics", "schema", "anomalies"):
            (folder / name).mkdir(parents=True)
        for seed, split in enumerate(("train", "valid", "test")):
            data = rows(seed)
            change(split, data)
            (folder / "examples" / f"Split-{split}").mkdir()
            path = (
                folder / "examples" / f"Split-{split}" / "data-00000-of-00001.parquet"
            )
            pq.write_table(pa.table(data), path)
        examples, statistics = folder / "examples", folder / "statistics"
        statistics_gen(config, {"examples": examples}, {"statistics": statistics})
        schema_gen(config, {"statistics": statistics}, {"schema": folder / "schema"})

    def validate(self, config=None, **inputs):
        config = config or self.config
        names = ("statistics", "schema")
        inputs = {name: self.folder / name for name in names} | inputs
        outputs = {"anomalies": self.folder / "anomalies"}
        return example_validator(config, inputs, outputs)

    @property
    def anomalies(self):
        """{column: AnomalyInfo}."""
        data = (self.folder / "anomalies" / "anomalies.pb").read_bytes()
        return anomalies_pb2.Anomalies.FromString(data).anomaly_info


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return Artifacts(tmp_path_factory.mktemp("clean"), lambda split, data: None)


def test_clean_examples_pass(clean):
    summary = clean.validate(previous_statistics=clean.folder / "statistics")
    page = clean.folder / "anomalies" / "statistics.html"
    notes = [f"statistics: {page}"]
    assert summary == {"rows": 3 * ROWS, "warnings": [], "notes": notes}
    assert "the examples can be trained on" in page.read_text()
    drifts = json.loads((clean.folder / "anomalies" / "drift.json").read_text())
    same = drifts["from the previous run to this one"]["features"]
    assert same["age"] == {"missing": 0.0, "values": 0.0}
    assert (clean.folder / "anomalies" / "anomalies.txt").read_text() == (
        "No anomalies.\n"
    )


def test_labels_and_weights_that_no_training_takes(tmp_path):
    def change(split, data):
        stars = np.arange(ROWS) % 5.0
        stars[:3] = {"train": 1.5, "valid": -1, "test": 4}[split]
        data |= {"stars": stars, "visits": data["click"] - (split == "train")}
        data["weight"] = data["spend"] - 1e3 * (split == "test")

    loss = {"name": "softmax", "classes": 5}
    tasks = [
        {"name": "stars", "kind": "classes", "loss": [loss]},
        {"name": "visits", "kind": "count", "row_weight": "weight"},
    ]
    config = make_config(**{**SECTIONS, "tasks": [*SECTIONS["tasks"], *tasks]})
    with pytest.raises(PipelineError) as error:
        Artifacts(tmp_path, change, config).validate()
    rule = "split) must hold a class from 0 to 4. Received: values from"
    lines = str(error.value).split("\n - ")[1:]
    assert [line for line in lines if "'stars'" in line] == [
        f"Column 'stars' (train {rule} 0 to 4; 3 of {ROWS} are no whole number. Mend "
        "the logs, or correct how many classes the task has.",
        f"Column 'stars' (valid {rule} -1 to 4; 0 of {ROWS} are no whole number. Mend "
        "the logs, or correct how many classes the task has.",
    ]
    assert any(
        "Column 'visits' (train split) must be >= 0. Received: values from -1 to 0."
        in line
        for line in lines
    )
    assert any("Column 'weight' (test split) must be >= 0." in line for line in lines)
    assert len(lines) == 4


def test_errors_are_written_and_then_raised_together(tmp_path):
    def change(split, data):
        data["like"] *= 5
        data["age"] = pa.nulls(ROWS, pa.float64())
        data["spend"][3] = np.inf
        data["click"][:] = 0  # so that `like` has no row in its space

    artifacts = Artifacts(tmp_path, change)
    with pytest.raises(PipelineError) as error:
        artifacts.validate()
    wrong = int((rows(0)["like"] == 1).sum())
    for text in (
        "Column 'like' (train split) must hold nothing but 0 and 1, as the label of a "
        f"binary task. Received: values from 0 to 5; {wrong} of {ROWS} are neither.",
        "Column 'age' has no value in the train split.",
        "Column 'spend' (test split) must be finite in float32. Received: 1 of "
        f"{ROWS} values are not.",
        "Task 'like' (train split): no row has a label and is in the task's space "
        "(click).",
    ):
        assert text in str(error.value)
    assert "the label is 0 in all" not in str(error.value)  # a warning

    page = (tmp_path / "anomalies" / "statistics.html").read_text()
    assert "the examples cannot be trained on" in page

    anomalies = artifacts.anomalies
    assert set(anomalies) == {"like", "age", "spend", "click"}
    assert anomalies["age"].severity == anomalies_pb2.AnomalyInfo.ERROR
    assert anomalies["click"].severity == anomalies_pb2.AnomalyInfo.WARNING
    assert len(anomalies["spend"].reason) == 3  # once a split
    text = (tmp_path / "anomalies" / "anomalies.txt").read_text()
    assert (
        "WARNING  Task 'click' (train split): the label is 0 in all 1000 rows" in text
    )
    assert "ERROR    Column 'age' has no value in the train split." in text


def test_infinite_regression_label_is_an_error(tmp_path):
    def change(split, data):
        if split == "valid":
            data["seconds"][-1] = -np.inf

    with pytest.raises(
        PipelineError, match=r"'seconds' \(valid split\) must be finite"
    ):
        Artifacts(tmp_path, change).validate()


def test_drift_and_unknown_values_are_warnings(tmp_path, clean):
    def change(split, data):
        if split == "test":
            data["tab"] = np.where(np.arange(ROWS) % 2, data["tab"], "new tab")
            data["spend"] *= 3.0
            data["age"] = pa.array(data["age"], mask=np.arange(ROWS) % 2 == 0)

    artifacts = Artifacts(tmp_path / "one", change)
    summary = artifacts.validate()
    assert summary["warnings"] == [
        "Column 'tab' (test split) has values that the schema does not know: "
        "'new tab', 50.00% of all.",
        "Column 'age' (test split) should have a value in 100.00% of the rows. "
        "Received: 500 rows without, 50.00% with one.",
        *(
            f"Column {column!r}: the {what} moved by {distance} from train to test; up "
            "to 0.3 is taken for usual."
            for column, what, distance in (
                ("tab", "distribution of values", "0.50"),
                ("age", "share of rows without a value", "0.50"),
                ("spend", "distribution of values", "0.45"),
            )
        ),
    ]

    def later(split, data):
        data["tab"][:] = "home"

    previous = clean.folder / "statistics"
    warnings = Artifacts(tmp_path / "two", later).validate(previous_statistics=previous)
    (warning,) = warnings["warnings"]
    assert "'tab'" in warning
    assert "from the previous run to this one" in warning


def test_skew_against_the_rows_that_were_served(tmp_path, clean):
    """Requests have no labels; one column is sent in another unit, one not at all."""
    data = rows(3)
    served = [
        {"tab": str(tab), "age": age * 12, "watched": ["home"] * (i % 4)}
        for i, (tab, age) in enumerate(zip(data["tab"], data["age"], strict=True))
    ]
    for part in range(2):
        lines = map(json.dumps, served[part::2])
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines))
    options = {"served": [str(tmp_path / "*.jsonl")], "skew": 0.2, "drift": 0.9}
    config = make_config(**SECTIONS, validation=options)
    summary = clean.validate(config)
    assert summary["warnings"] == [
        f"Column {column!r}: the {what} moved by 1.00 from train to the served rows; "
        "up to 0.2 is taken for usual."
        for column, what in (
            ("age", "distribution of values"),
            ("spend", "share of rows without a value"),
        )
    ]
    assert sorted(path.name for path in (clean.folder / "anomalies").iterdir()) == [
        "anomalies.pb",
        "anomalies.txt",
        "drift.json",
        "statistics.html",
    ]
    with pytest.raises(PipelineError, match="validation.served.0"):
        options = {"served": [str(tmp_path / "none*")]}
        clean.validate(make_config(**SECTIONS, validation=options))


def test_columns_are_held_to_a_schema_edited_by_hand(clean, tmp_path):
    text = (clean.folder / "schema" / "schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    by_name = {feature.name: feature for feature in schema.feature}
    by_name["request"].name = "request_id"
    by_name["tab"].type = schema_pb2.INT
    by_name["age"].float_domain.max = 60
    by_name["watched"].value_count.max = 2
    schema.feature.add(name="duration", type=schema_pb2.FLOAT)
    by_name["spend"].name = "spent"
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(schema))
    with pytest.raises(PipelineError) as error:
        clean.validate(schema=tmp_path)
    errors = str(error.value)
    assert (
        "'tab' must be INT, as in the schema (train split). Received: BYTES." in errors
    )
    assert "'age' (train split) must be <= 60. Received: values" in errors
    assert (
        "'watched' (test split) must have at most 2 values a row. Received: 3."
        in errors
    )
    assert "duration" not in errors
    warned = {
        (column, reason.short_description)
        for column, info in clean.anomalies.items()
        if info.severity == anomalies_pb2.AnomalyInfo.WARNING
        for reason in info.reason
    }
    assert warned == {
        ("request", "SCHEMA_NEW_COLUMN"),
        ("request_id", "SCHEMA_MISSING_COLUMN"),
        ("spend", "SCHEMA_NEW_COLUMN"),
        ("spent", "SCHEMA_MISSING_COLUMN"),
        ("duration", "SCHEMA_MISSING_COLUMN"),
    }


def test_distance_of_splits_drawn_alike_is_small(clean):
    _, train = read(clean.folder / "statistics", "train")
    _, test = read(clean.folder / "statistics", "test")
    for name in ("tab", "age", "spend", "watched"):
        assert drift.values(train[name], test[name]) < 0.15
        assert drift.values(train[name], train[name]) == 0
    assert drift.values(train["request"], test["request"]) == 0
    assert drift.missing(train["age"], test["age"]) == 0
    chance = math.sqrt(math.log(2000) / 2 * 2 / ROWS)
    assert drift.by_chance(train["age"], test["age"]) == pytest.approx(chance)


def test_a_distance_up_to_the_limit_is_usual():
    distances = {"missing": 0.1, "values": math.nextafter(0.1, 1)}
    found = {"limit": 0.1, "features": {"age": distances}, "by_chance": {"age": 0.0}}
    drifts = {"here": found}
    (found,) = component._moved(drifts)
    assert "the distribution of values moved by 0.10 here" in found.text
    # Chance widens the limit of values, not that of what is missing.
    found = {"limit": 0.1, "features": {"age": distances}, "by_chance": {"age": 0.5}}
    distances.update(missing=0.2, values=0.2)
    (found,) = component._moved({"here": found})
    assert "the share of rows without a value moved by 0.20 here" in found.text


def test_a_label_that_comes_less_often_than_in_train_is_told(tmp_path):
    def change(split, data):
        rng = np.random.default_rng(1)
        rate = {"train": 0.3, "valid": 0.28, "test": 0.15}[split]
        data["click"] = (rng.random(ROWS) < rate).astype(float)

    warnings = Artifacts(tmp_path, change).validate()["warnings"]
    (warning,) = [text for text in warnings if "Task 'click'" in text]
    assert "(test split): the label is 1 in 1" in warning and "in train in" in warning


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        ((0.3, 1000), (0.1, 10), False),  # by chance, though three times
        ((0.3, 10**6), (0.31, 10**6), False),  # not by chance, but little
        ((0.3, 10**6), (0.1, 10**6), True),
    ],
)
def test_a_shift_is_told_that_is_sure_and_large(before, now, is_told):
    train, seen = (dict(zip(("mean", "rows"), of, strict=True)) for of in (before, now))
    task = next(task for task in CONFIG.tasks if task.name == "click")
    assert bool(component._shift(task, train, seen)) == is_told


def test_a_column_that_nothing_reads_may_be_empty(tmp_path):
    def change(split, data):
        if split == "test":
            data["request"] = pa.nulls(ROWS, pa.int64())

    (warning,) = Artifacts(tmp_path, change).validate()["warnings"]
    assert warning.startswith("Column 'request' has no value in the test split.")


def test_few_rows_may_differ_by_chance(tmp_path, monkeypatch):
    monkeypatch.setattr("test_example_validator.ROWS", 12)
    warnings = Artifacts(tmp_path, lambda split, data: None).validate()["warnings"]
    assert not [text for text in warnings if "moved" in text]


def test_many_findings_of_a_kind_are_summed_up(clean, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.components.example_validator.component._SHOWN", 2)
    text = (clean.folder / "schema" / "schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    for name in ("a", "b", "c"):
        schema.feature.add(name=name, type=schema_pb2.FLOAT)
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(schema))
    first, rest = clean.validate(schema=tmp_path)["warnings"]
    assert "Column 'a'" in first
    assert rest == "8 more such findings, see anomalies.txt"
    assert (
        len((clean.folder / "anomalies" / "anomalies.txt").read_text().split("\n"))
        == 10
    )


def test_what_the_config_types_anew_is_no_anomaly(clean, tmp_path):
    """A column that was text to the previous run has become a numeric feature."""

    def text(split, data):
        data["age"] = [str(value) for value in data["age"]]

    features = [
        f for f in SECTIONS["features"] if f != {"name": "age", "kind": "numeric"}
    ]
    without = make_config(**{**SECTIONS, "features": features})
    before = Artifacts(tmp_path, text, without).folder / "statistics"
    assert clean.validate(previous_statistics=before)["warnings"] == []
