"""Whatever Arrow type a column has, and whatever it is for: rows, dead letters, a rule.

No exception of Arrow or Python may reach who brings a log.
"""

import re
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.components.example_gen import component as module
from pipeline.components.example_gen import join, partitions
from pipeline.errors import PipelineError
from pipeline.logs import inspect, parts

ROWS = 12
UNITS = ("s", "ms", "us", "ns")
# Any bits are a value of each.
FIXED = [
    pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(),
    *map(pa.timestamp, UNITS), pa.timestamp("s", "UTC"),
    pa.timestamp("ns", "Asia/Tokyo"),
    pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    *map(pa.duration, UNITS), pa.binary(3), pa.binary(16),
    pa.month_day_nano_interval(),
]  # fmt: skip
TEXTS = [
    pa.string(), pa.large_string(), pa.string_view(),
    pa.binary(), pa.large_binary(), pa.binary_view(),
]  # fmt: skip
KINDS = [
    "null", "dictionary", "struct", "map", "list", "lists in lists", "fixed list",
    "large list", "list view",
]  # fmt: skip
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


@st.composite
def _values(draw, length):
    """Arrays of one value a row, of any bits where those are values."""
    type_ = draw(st.sampled_from([*FIXED, *TEXTS, pa.uuid(), pa.decimal128(9, 2)]))
    if type_ in TEXTS:
        each = st.binary(max_size=3) | st.sampled_from([b"1", b"true", b"2024-01-01"])
        array = pa.array(draw(st.lists(each, min_size=length, max_size=length)))
        array = array.cast(pa.binary())
        if "string" in str(type_):
            array = array.view(pa.string())  # which does not look whether they are some
        return array.cast(type_)
    if pa.types.is_decimal(type_):
        return pa.array([Decimal(i) / 4 for i in range(length)], type_)
    size = max(type_.bit_width // 8, 1) * length
    buffer = pa.py_buffer(draw(st.binary(min_size=size, max_size=size)))
    if type_ == pa.uuid():
        storage = pa.Array.from_buffers(pa.binary(16), length, [None, buffer])
        return pa.ExtensionArray.from_storage(type_, storage)
    return pa.Array.from_buffers(type_, length, [None, buffer])


@st.composite
def _arrays(draw):
    """Arrays of any type that Parquet can hold."""
    kind = draw(st.sampled_from([*["value"] * 6, *KINDS]))
    if kind == "null":
        return pa.nulls(ROWS)
    counts = [1] * ROWS
    if kind in ("list", "large list", "list view", "lists in lists"):
        counts = draw(st.lists(st.integers(0, 2), min_size=ROWS, max_size=ROWS))
    items = draw(_values(sum(counts)))
    offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
    if kind == "dictionary":
        indices = pa.array([*range(ROWS - 1), None], pa.int8())
        return pa.DictionaryArray.from_arrays(indices, items)
    if kind == "struct":
        return pa.StructArray.from_arrays([items], ["a"])
    if kind == "map":
        keys = pa.array([f"k{i}" for i in range(ROWS)])
        return pa.MapArray.from_arrays(offsets, keys, items)
    if kind == "fixed list":
        mask = pa.array([i % 3 == 0 for i in range(ROWS)])
        return pa.FixedSizeListArray.from_arrays(items, 1, mask=mask)
    if kind == "large list":
        return pa.LargeListArray.from_arrays(offsets.astype(np.int64), items)
    if kind == "list view":
        sizes = pa.array(counts, pa.int32())
        return pa.ListViewArray.from_arrays(pa.array(offsets[:-1]), sizes, items)
    if kind in ("list", "lists in lists"):
        items = pa.ListArray.from_arrays(offsets, items)
    if kind == "lists in lists":
        return pa.ListArray.from_arrays(np.arange(ROWS + 1, dtype=np.int32), items)
    return items


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
    @given(_arrays())
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
    @given(_arrays())
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
