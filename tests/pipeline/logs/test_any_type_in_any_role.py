"""Whatever Arrow type a column has, and whatever it is for: rows, dead letters, a rule.

No exception of Arrow or Python may reach who brings a log.
"""

import re
import tempfile
from pathlib import Path

import arrow_arrays
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from hypothesis import assume, given, settings

from pipeline.components.example_gen import component as module
from pipeline.components.example_gen import join, partitions
from pipeline.errors import PipelineError
from pipeline.logs import inspect, parts

ROWS = 12
SPLIT_BY_TIME = {"split": {"by": "time", "column": "x"}}
ROLES = {
    "category": {"features": ["user", "x"]},
    "number": {"features": ["user", {"name": "x", "kind": "numeric"}]},
    "sequence": {"features": ["user", {"name": "x", "kind": "sequence", "of": "user"}]},
    "label": {"tasks": [{"name": "click", "label": "x"}]},
    "space": {"tasks": [{"name": "click", "space": "x"}]},
    "weight": {"tasks": [{"name": "click", "row_weight": "x"}]},
    "split by time": {"data": SPLIT_BY_TIME},
    "split by hash": {"data": {"split": {"by": "hash", "column": "x"}}},
    "slice": {"evaluate": {"slices": ["x"]}},
    "group": {"evaluate": {"group": "x"}},
    "where, a number": {"data": {"where": "x >= 0"}},
    "where, a text": {"data": {"where": 'x != "b"'}},
    "label from a number": {"data": {"labels": {"y": "x > 0"}}},
    "label from a text": {"data": {"labels": {"y": 'x == "1" or is_null(x)'}}},
    "no role": {},
}
# Of the column x in a log of actions.
JOINED = {
    "key": {"key": {"user": "x"}, "time": "click"},
    "time": {"key": "user", "time": "x"},
    "sum": {"key": "user", "time": "click", "values": {"y": ("x", "sum")}},
    "last": {"key": "user", "time": "click", "values": {"y": ("x", "last")}},
    "where": {"key": "user", "time": "click", "where": 'x == "1"'},
    "history": {"key": "user", "time": "click"},
}


@pytest.fixture(autouse=True)
def no_runner(monkeypatch):
    """Calls the workers' functions; that Beam does so is tested elsewhere."""

    def parallel_map(workers, function, items):
        return [function(i, item) for i, item in enumerate(items)]

    def run(workers, elements, transform):
        reports, rows, ends = {}, {}, []
        for element in elements:
            for partition, found in transform._read.process(element):
                if partition == partitions.REPORT:
                    reports[(0, *found[0])] = found[1]
                    ends.append(found[2])
                else:
                    rows.setdefault(partition, []).append(found)
        for element in rows.items():
            reports |= transform._match.process(element, max(ends))
        for report in reports.values():
            if isinstance(report, PipelineError):
                raise report
        return reports

    for user in (module, inspect, parts):
        monkeypatch.setattr(user, "parallel_map", parallel_map)
    monkeypatch.setattr(join.results, "run", run)


def _write(folder, array):
    columns = {
        "user": [f"u{i}" for i in range(len(array))],
        "click": [i % 2 for i in range(len(array))],
        "x": array,
    }
    pq.write_table(pa.table(columns), folder / "log.parquet")


def _example_gen(folder, **sections):
    data = {"logs": [f"{folder}/log.parquet"], "max_dead_letter_rate": 1}
    config = make_config(**{**sections, "data": {**data, **sections.get("data", {})}})
    (folder / "out").mkdir()
    return module.example_gen(config, {}, {"examples": folder / "out"})


def _assert_explained(error):
    known = ("column .x.", "got no rows", "cannot be read to its end")
    assert re.search("|".join(known), str(error))


@pytest.mark.parametrize("role", ROLES)
def test_rows_dead_letters_or_a_rule(role):
    @settings(max_examples=30)
    @given(arrow_arrays.arrays(ROWS))
    def check(array):
        with tempfile.TemporaryDirectory() as name:
            try:
                _write(Path(name), array)
            except (pa.ArrowException, OSError):
                assume(False)  # Parquet does not hold it.
            try:
                summary = _example_gen(Path(name), **ROLES[role])
            except PipelineError as error:
                _assert_explained(error)
            else:
                filtered = summary["filtered"]
                assert summary["rows"] + summary["dead"] + filtered == ROWS

    check()


@pytest.mark.parametrize("role", JOINED)
def test_a_joined_log_too(role):
    action = {"name": "act", "window": 9, **JOINED[role]}
    for name, (column, take) in action.get("values", {}).items():
        action["values"] = {name: {"column": column, "take": take}}
    history = {"name": "past", "key": "user", "column": "x", "actions": "act"}

    @settings(max_examples=30)
    @given(arrow_arrays.arrays(ROWS))
    def check(array):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                _write(folder, array)
            except (pa.ArrowException, OSError):
                assume(False)
            data = {
                "actions": [{**action, "logs": [f"{name}/log.parquet"]}],
                "history": [history] if role == "history" else [],
                "time": "click",
            }
            try:
                summary = _example_gen(folder, data=data)
            except PipelineError as error:
                _assert_explained(error)
            else:
                of = summary["actions"]["act"]
                fates = ("matched", "unmatched", "duplicates", "filtered", "dead")
                assert sum(of[fate] for fate in fates) == of["rows_in"] == ROWS

    check()
