"""Logs and disks that are not as they should be: a clear error, or a dead letter."""

import contextlib
import io
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import raw_config

from pipeline import __main__ as command
from pipeline import config as config_
from pipeline.components.example_gen.component import example_gen
from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.logs import csv, files
from pipeline.logs.dead_letters import REASONS, DeadLetters
from pipeline.logs.formats import Unparsed, read_jsonl
from pipeline.workspace.metadata import Metadata


def _config(folder, *overrides):
    data = {"logs": [f"{folder}/log*"], "max_dead_letter_rate": 0.1}
    path = folder / "bad.yaml"
    raw = raw_config(data, workspace=f"{folder}/work")
    path.write_text(json.dumps(raw))
    return config_.load(path, overrides)


def _run(config, folder):
    folder.mkdir()
    summary = example_gen(config, {}, {"examples": folder})
    letters = [
        json.loads(line)
        for file in sorted(folder.glob("dead_letter/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert summary["dead"] == len(letters)
    assert summary["rows_in"] == summary["rows"] + summary["dead"]
    return summary, letters


def _csv(count=300, note="café {}"):
    lines = [f"u{i},{i % 2},{note.format(i)}" for i in range(count)]
    return "\n".join(["user,click,note", *lines]) + "\n"


def _jsonl(count=300):
    rows = [{"user": f"u{i}", "click": i % 2, "note": "café"} for i in range(count)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextlib.contextmanager
def _largest_file(size):
    """A disk on which no file gets larger, as if it were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("kind", ["header", "no header", "jsonl"])
def test_wide_encodings_are_refused(kind, encoding, tmp_path):
    overrides = []
    if kind == "jsonl":
        (tmp_path / "log.jsonl").write_text(_jsonl(), encoding=encoding)
    else:
        (tmp_path / "log.csv").write_text(_csv(), encoding=encoding)
    if kind == "no header":
        overrides = ["data.columns=[user, click, note]"]
    with pytest.raises(PipelineError, match=r"log\.\w+: cannot be read.*is not UTF-8"):
        _run(_config(tmp_path, *overrides), tmp_path / "out")


@pytest.mark.parametrize(
    "options", [{}, {"orient": "records"}, {"orient": "records", "indent": 1}]
)
def test_json_that_has_no_object_a_line_says_how_to_write_it(options):
    table = pd.DataFrame({"user": ["u1", "u2"], "click": [0, 1]})
    text = table.to_json(**options)
    chunk = next(read_jsonl(io.BufferedReader(io.BytesIO(text.encode()))))
    assert not chunk.rows.num_rows and "lines=True" in chunk.unparsed[0].reason
    lines = table.to_json(orient="records", lines=True)
    chunk = next(read_jsonl(io.BufferedReader(io.BytesIO(lines.encode()))))
    assert chunk.rows.num_rows == 2 and not chunk.unparsed


def test_latin_1_fields_are_dead_letters(tmp_path):
    text = _csv(100, "plain {}").replace("plain 7\n", "café\n")
    (tmp_path / "log.csv").write_text(text, encoding="latin-1")
    summary, (letter,) = _run(_config(tmp_path), tmp_path / "out")
    assert summary["rows"] == 99 and letter["line"] == 9
    assert letter["reason"] == "column 'note': b'caf\\xe9' is not UTF-8"
    assert letter["record"] == {"user": "u7", "click": "1", "note": "caf\\xe9"}


def test_a_row_that_is_too_long_and_not_utf_8(tmp_path, monkeypatch):
    # So small that rows before it are handed over already, and not twice.
    monkeypatch.setattr(csv, "_BLOCK_BYTES", 200)
    lines = _csv(100, "plain {}").splitlines()
    lines[1] = "u0,0"
    lines[60] = "u59,1,café,more"
    lines[70] = "u69,1,naïve"
    text = "\n".join(lines).encode("latin-1")
    (tmp_path / "log.csv").write_bytes(text)
    summary, letters = _run(_config(tmp_path), tmp_path / "out")
    assert summary["rows_in"] == 100
    assert [(e["line"], e["record"]) for e in letters[:2]] == [
        (2, "u0,0"),
        (61, "u59,1,caf\\xe9,more"),
    ]
    assert letters[2]["line"] == 71 and "is not UTF-8" in letters[2]["reason"]


def test_latin_1_lines_are_dead_letters(tmp_path):
    lines = _jsonl(100).replace("café", "cafe").splitlines()
    lines[6] = lines[6].replace("cafe", "café")
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="latin-1")
    summary, (letter,) = _run(_config(tmp_path), tmp_path / "out")
    assert summary["rows"] == 99 and letter["line"] == 7
    assert letter["reason"].startswith("not a JSON object") and "é" not in letter


def test_a_file_all_of_another_encoding_stops_the_job(tmp_path):
    (tmp_path / "log.csv").write_text(_csv(), encoding="latin-1")
    with pytest.raises(PipelineError, match="300 of 300 rows .100.00%. do not fit"):
        _run(_config(tmp_path), tmp_path / "out")


def test_columns_too_few_and_too_many(tmp_path):
    lines = _csv(100).splitlines()
    lines[3] = "u2,1"
    lines[8] = "u7,1,a,b"
    lines[9] = ""
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    summary, letters = _run(_config(tmp_path), tmp_path / "out")
    assert summary["rows_in"] == 99  # an empty line is no row
    assert [(e["line"], e["reason"], e["record"]) for e in letters] == [
        (4, "2 fields where 3 are named", "u2,1"),
        (9, "4 fields where 3 are named", "u7,1,a,b"),
    ]


def test_every_line_behind_a_quote_left_open_is_lost_and_counted(tmp_path):
    lines = _csv(100, "plain {}").splitlines()
    lines[3], lines[5] = 'u2,0,"plain 2', 'u4,0,plain 4"'  # a field of three lines
    lines[9], lines[10] = 'u8,"0', 'plain 8"'  # two fields, in two lines
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "out").mkdir()
    summary = example_gen(_config(tmp_path), {}, {"examples": tmp_path / "out"})
    assert {k: summary[k] for k in ("rows_in", "rows", "dead")} == {
        "rows_in": 100,
        "rows": 95,
        "dead": 5,
    }


def test_all_lost_lines_are_written_and_the_first_reasons_kept(tmp_path):
    log = SimpleNamespace(path="log.jsonl", format="jsonl")
    lines = [Unparsed(i, f"no {i}", "{", 1) for i in range(1, 21)]
    with DeadLetters(tmp_path, "part", tmp_path) as letters:
        letters.add_unparsed(log, lines)
    assert len(letters.path.read_text().splitlines()) == letters.count == 20
    first = [f"log.jsonl, line {i}: no {i}" for i in range(1, REASONS + 1)]
    assert letters.reasons == first


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_what_is_not_compressed_at_all(codec, tmp_path):
    (tmp_path / f"log.csv.{codec}").write_text(_csv())
    with pytest.raises(PipelineError, match=rf"log.csv.{codec}: cannot be read"):
        _run(_config(tmp_path), tmp_path / "out")


def test_a_folder_without_permission_is_not_taken_for_an_empty_one():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    locked = folder / "locked"
    locked.mkdir()
    (locked / "log.csv").write_text(_csv())
    locked.chmod(0)
    (folder / "log.csv").write_text(_csv())
    (folder / "log.csv").chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # whom nothing is forbidden
            os.seteuid(65534)
        with pytest.raises(PipelineError, match=r"data.logs.0: .*ermission denied"):
            files.find([("data.logs.0", f"{locked}/*.csv", None)], Reading())
        for pattern in ("*/*.csv", "**/*.csv", "l*/log.csv", "locked/log.csv"):
            with pytest.raises(PipelineError, match=r"0: .*denied: .*locked"):
                files.find([("data.logs.0", f"{folder}/{pattern}", None)], Reading())
        (file,) = files.find([("data.logs.0", f"{folder}/*.csv", None)], Reading())
        with pytest.raises(PipelineError, match=r"log.csv: cannot.*ermission denied"):
            next(files.read(file))
    finally:
        os.seteuid(user)
        locked.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["shards", "dead letters", "join"])
def test_a_disk_that_fills_up(kind, tmp_path):
    overrides = []
    if kind == "dead letters":
        lines = [f"u{i},{i % 2},maybe" for i in range(20_000)]
        text = "\n".join(["user,click,note", *lines]).replace(",1,", ",no,")
        overrides = ["data.max_dead_letter_rate=1"]
    else:
        text = _csv(40_000)
    if kind == "join":
        (tmp_path / "clicks.csv").write_text("user,time\nu1,1\n")
        action = f"{{name: did, logs: {tmp_path}/clicks.csv, key: user, time: time}}"
        overrides = [f"data.actions=[{action}]", "data.time=click"]
    (tmp_path / "log.csv").write_text(text)
    config = _config(tmp_path, *overrides)
    with _largest_file(100_000 if kind == "dead letters" else 30_000):
        with pytest.raises(PipelineError, match=r"out: cannot be written to: .*large"):
            _run(config, tmp_path / "out")
    assert not list((tmp_path / "out").glob("Split-*/data-*"))  # taken for whole
    _run(config, tmp_path / "again")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut off", "log.csv.gz: cannot be read to its end as csv"),
        ("disk", "cannot be written to"),
        ("workspace", "workspace: cannot write to"),
    ],
)
def test_the_command_ends_with_a_message_and_status_2(kind, message, tmp_path, capsys):
    (tmp_path / "log.csv").write_text(_csv(40_000))
    arguments = ["run", str(tmp_path / "bad.yaml"), "--until", "ExampleGen"]
    _config(tmp_path)
    limit = contextlib.nullcontext()
    if kind == "cut off":
        (tmp_path / "log.csv").rename(tmp_path / "log.csv.gz")
        (tmp_path / "log.csv.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\3ab")
    elif kind == "disk":
        limit = _largest_file(45_000)
    else:
        arguments += ["--set", "workspace=/proc/nowhere"]
    with limit:
        assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert error.startswith("error: ")


@pytest.mark.parametrize("recorded", [True, False])
def test_a_disk_that_fills_up_in_a_later_stage(recorded, tmp_path, capsys, monkeypatch):
    (tmp_path / "log.csv").write_text(_csv(40_000))
    _config(tmp_path)
    arguments = ["run", str(tmp_path / "bad.yaml"), "--until"]
    assert command.main([*arguments, "ExampleGen"]) == 0

    def full(*arguments):
        raise PipelineError("no room for that either")

    if not recorded:  # as the record of what has run is on the same disk
        monkeypatch.setattr(Metadata, "fail", full)
    with _largest_file(45_000):  # enough for the record, not for a whole vocabulary
        assert command.main([*arguments, "StatisticsGen"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: StatisticsGen: {tmp_path}/work: the disk refuses")
    assert "File too large" in error and "Traceback" not in error
    assert "Make room" in error and "no room for that either" not in error
    monkeypatch.undo()
    assert command.main([*arguments, "StatisticsGen"]) == 0


def test_a_damaged_record_of_what_has_run(tmp_path, capsys):
    (tmp_path / "log.csv").write_text(_csv())
    _config(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "metadata.sqlite").write_bytes(b"no database" * 999)
    assert command.main(["preprocess", str(tmp_path / "bad.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/work/metadata.sqlite: the record")
    assert "file is not a database" in error and "move it away" in error
