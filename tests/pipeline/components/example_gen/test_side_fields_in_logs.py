"""Lists of the same events: as long as each other, or the row is a dead letter."""

import json

import pyarrow.parquet as pq
from conftest import make_config

from pipeline.components.example_gen.component import example_gen

FEATURES = [
    "user",
    {"name": "played", "kind": "sequence", "of": "user", "max_length": 3},
    {"name": "by", "kind": "sequence", "of": "user", "side_of": "played"}
    | {"max_length": 3},
    {"name": "seconds", "kind": "numeric_sequence", "side_of": "played"}
    | {"max_length": 3},
]


def test_lists_of_other_lengths_and_numbers_that_are_none_are_dead_letters(tmp_path):
    rows = [
        {"played": ["a", "b"], "by": ["x", None], "seconds": [1, 2.50]},
        {"played": ["a", "b"], "by": None, "seconds": [7, None]},
        {"played": ["a", "b"], "by": ["x"], "seconds": [1, 2]},
        {"played": ["a"], "by": ["x"], "seconds": [1, 2]},
        {"played": ["a"], "by": ["x"], "seconds": ["long"]},
    ]
    rows = [{"user": "u", "click": 1, **row} for row in rows]
    logs = {}
    for split in ("train", "valid", "test"):
        log = tmp_path / f"{split}.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        logs[split] = [str(log)]
    data = {"logs": logs, "split": {"by": "given"}, "max_dead_letter_rate": 1.0}
    folder = tmp_path / "out"
    folder.mkdir()
    summary = example_gen(make_config(data, FEATURES), {}, {"examples": folder})
    assert summary["dead"] == 3 * 3
    (shard,) = (folder / "Split-train").glob("*.parquet")
    kept = pq.read_table(shard, partitioning=None)
    assert kept["by"].to_pylist() == [["x", ""], None]
    assert kept["seconds"].to_pylist() == [["1", "2.5"], ["7", ""]]
    letters = "".join(f.read_text() for f in (folder / "dead_letter").glob("*.jsonl"))
    assert "'by': 1 values, but 2 in 'played', whose side field it is" in letters
    assert "'seconds': 2 values, but 1 in 'played'" in letters
    assert "'long'" in letters
