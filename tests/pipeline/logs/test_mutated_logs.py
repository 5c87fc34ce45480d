"""A log that chance has changed ends in rows, dead letters or a message."""

import json
import tempfile
from pathlib import Path

import first_stages
import mutated_logs
import pytest
from conftest import raw_config
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

FEATURES = [
    "user",
    {"name": "item", "kind": "categorical", "oov_buckets": 3},
    {"name": "price", "kind": "numeric", "piecewise_linear": 4},
    {"name": "tags", "kind": "sequence", "of": "item", "max_length": 3},
]
TASKS = [
    "click",
    {"name": "long", "space": "click"},
    {"name": "watch", "kind": "regression", "space": "click", "loss": "log_mse"},
]
DATA = {
    "labels": {"long": "watch > 3 and price != 7"},
    "split": {"by": "time", "column": "when", "train": 0.6, "valid": 0.2},
}
HISTORY = {"name": "seen", "key": "user", "column": "item", "max_length": 3}
ACTION = {"key": "user", "time": "when", "window": "1h", "values": {"paid": "price"}}
JOINED = {
    "time": "when",
    "where": "price >= 0 or is_null(price)",
    "history": [{**HISTORY, "where": "click == 1"}],
    "split": {"by": "hash", "column": ["user", "when"]},
}


def _run(content, format_, rate, joined, whole):
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/log.{format_}"
        Path(log).write_bytes(content)
        data = {"logs": log, **DATA, "max_dead_letter_rate": rate}
        sections = {"domain": "item", "evaluate": {"slices": ["item"], "group": "user"}}
        if joined:
            data |= {**JOINED, "actions": [{**ACTION, "name": "act", "logs": log}]}
        raw = raw_config(data, FEATURES, TASKS, workspace=f"{folder}/work", **sections)
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(raw))
        return first_stages.run(path, whole=whole)


def _assert_counted_or_explained(outcome):
    if isinstance(outcome, str):
        assert outcome and "Traceback" not in outcome and len(outcome) < 10_000
    else:
        fates = ("rows", "dead", "filtered", "incomplete")
        assert sum(outcome[fate] for fate in fates) == outcome["rows_in"]


ANY_LOG = given(
    mutated_logs.logs(), st.sampled_from([1.0, 1.0, 0.1, 0.0]), st.booleans()
)
ANY_SPEED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def test_any_log_becomes_statistics_or_a_message():
    @settings(max_examples=30, derandomize=True, suppress_health_check=ANY_SPEED)
    @ANY_LOG
    def check(log, rate, joined):
        format_, content = log
        _assert_counted_or_explained(_run(content, format_, rate, joined, whole=False))

    check()


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_column_without_a_name(format_):
    """As pandas writes an index."""
    columns = {"": list(range(mutated_logs.ROWS)), **mutated_logs.COLUMNS}
    content = mutated_logs.written(format_, columns)
    outcome = _run(content, format_, 0.0, joined=False, whole=False)
    assert outcome["rows"] == mutated_logs.ROWS


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_any_log_is_checked_and_transformed_or_gets_a_message(part):
    @seed(part)
    @settings(max_examples=250, database=None, suppress_health_check=ANY_SPEED)
    @ANY_LOG
    def check(log, rate, joined):
        format_, content = log
        whole = len(content) % 40 == 0  # takes ten times as long
        _assert_counted_or_explained(_run(content, format_, rate, joined, whole))

    check()
