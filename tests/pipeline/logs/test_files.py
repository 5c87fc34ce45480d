"""Logs: dialects, compression, parts of large files, and file systems far away."""

import gzip
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem
from conftest import make_config
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import stages
from pipeline.artifacts import examples
from pipeline.artifacts.layout import SPLITS
from pipeline.beam.results import Workers
from pipeline.components.example_gen.component import example_gen
from pipeline.config.reading import Reading
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError
from pipeline.logs import files as sources
from pipeline.logs import formats
from pipeline.logs import parts as ranges


def _config(logs, rate=0.0, **data):
    split = {"by": "hash", "column": "user", "train": 0.5, "valid": 0.25}
    data = {"logs": logs, "split": split, "max_dead_letter_rate": rate, **data}
    return make_config(data)


def _rows(count=200):
    return [{"user": f"u{i}", "click": i % 2, "note": f"n {i}"} for i in range(count)]


def _run(config, folder):
    folder.mkdir()
    summary = example_gen(config, {}, {"examples": folder})
    rows = [
        row
        for name in SPLITS
        for batch in examples.read_batches(folder / f"Split-{name}")
        for row in batch.to_pylist()
    ]
    assert summary["rows_in"] == summary["rows"] + summary["dead"]
    return summary, sorted(rows, key=lambda row: int(row["user"][1:]))


def _check(rows, count=200):
    assert rows == [{**row, "click": float(row["click"])} for row in _rows(count)]


def _lines(rows, delimiter=",", header=True):
    lines = [delimiter.join(rows[0])] * header
    lines += [delimiter.join(map(str, row.values())) for row in rows]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.tsv", _lines(_rows(), "\t"), {}),
        ("a.txt", _lines(_rows(), "\x01"), {"delimiter": "\x01", "format": "csv"}),
        ("a.csv", b"\xef\xbb\xbf" + _lines(_rows()), {}),
        ("a.csv", _lines(_rows()).replace(b"\n", b"\r\n"), {}),
        (
            "a.csv",
            _lines(_rows(), ", ", header=False),
            {"columns": ["user", "click", "note"], "strip": True},
        ),
        ("a.csv", _lines(_rows(), " ; "), {"delimiter": ";", "strip": True}),
        (
            "a.csv",
            re.sub(rb"(n \d+)", rb"'\1'", _lines(_rows())),
            {"quote": "'"},
        ),
        ("a.csv", re.sub(rb"(n \d+)", rb'"\1"', _lines(_rows())), {"multiline": False}),
    ],
)
def test_dialects(name, content, options, tmp_path):
    (tmp_path / name).write_bytes(content)
    _, rows = _run(_config(f"{tmp_path}/a.*", **options), tmp_path / "out")
    _check(rows)


def test_without_quotes_they_are_part_of_the_field(tmp_path):
    content = _lines(_rows()).replace(b"n 7,", b'"n 7,').replace(b"n 8\n", b'n "8\n')
    content = content.replace(b",n 9\n", b',"n 9\n')
    (tmp_path / "a.csv").write_bytes(content)
    _, rows = _run(_config(f"{tmp_path}/a.csv", quote=None), tmp_path / "out")
    assert [rows[i]["note"] for i in (8, 9, 10)] == ['n "8', '"n 9', "n 10"]


def test_a_file_without_header_needs_columns(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"1,1,x\n" * 5)
    with pytest.raises(PipelineError, match="without a header needs `data.columns`"):
        _run(_config(f"{tmp_path}/a.csv"), tmp_path / "out")


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_compressed_logs_whole_in_frames_and_cut_off(codec, format, tmp_path):
    compress = gzip.compress if codec == "gz" else zstandard.compress
    if format == "csv":
        plain = _lines(_rows())
    else:
        plain = "".join(json.dumps(row) + "\n" for row in _rows()).encode()
    # Two frames, as `cat a.gz b.gz` makes.
    content = compress(plain[:1000]) + compress(plain[1000:])
    path = tmp_path / f"a.{format}.{codec}"
    path.write_bytes(content)
    _, rows = _run(_config(str(path)), tmp_path / "out")
    _check(rows)
    cut = [len(content) - 1, len(content) - 9, len(compress(plain[:1000])) + 20, 30]
    for i, length in enumerate(cut):
        path.write_bytes(content[:length])
        with pytest.raises(PipelineError, match="cannot be read to its end"):
            _run(_config(str(path), rate=1.0), tmp_path / f"cut-{i}")


def _file(tmp_path, content, format="csv", **options):
    path = tmp_path / f"log.{format}"
    path.write_bytes(content)
    return sources.find([("", str(path), None)], Reading(**options))


@pytest.mark.parametrize("size", [9, 64, 1000, 5000])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_parts_hold_each_line_once_and_know_its_number(
    format, size, tmp_path, monkeypatch
):
    monkeypatch.setattr(ranges, "RANGE_BYTES", size)
    rng = np.random.default_rng(0)
    rows = [{"user": f"u{i}", "x": "y" * int(rng.integers(0, 90))} for i in range(60)]
    if format == "csv":
        lines = _lines(rows).splitlines()
        lines[20] = b"too,many,fields"
    else:
        lines = [json.dumps(row).encode() for row in rows]
        lines[20] = b"{broken"
    lines.insert(40, b"")
    # Without the last line break.
    (file,) = _file(tmp_path, b"\n".join(lines), format)
    parts = ranges.divide([file], Workers(Beam(), tmp_path))
    assert (len(parts) > 1) == (4 * size < file.size)
    assert parts[0].start == 0 and parts[-1].stop in (None, file.size)

    def read(parts):
        found = []
        for part in parts:
            for chunk in sources.read(part):
                found += zip(
                    chunk.positions.tolist(), chunk.rows.to_pylist(), strict=True
                )
                found += [(u.position, u.record) for u in chunk.unparsed]
        return sorted(found, key=lambda pair: pair[0])

    whole = read([file])
    assert len(whole) == 60
    # Arrow does not count the blank lines of a CSV; counted by their breaks, they do.
    if format == "csv" and len(parts) > 1:
        assert [v for _, v in read(parts)] == [v for _, v in whole]
        got = dict(read(parts))
        assert got[21] == "too,many,fields" and got[61 + 1] == whole[-1][1]
    else:
        assert read(parts) == whole


def test_a_csv_with_quotes_is_cut_only_if_no_field_has_line_breaks(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ranges, "RANGE_BYTES", 200)
    monkeypatch.setattr(ranges, "_BLOCK_BYTES", 100)
    content = _lines(_rows()).replace(b",n 150", b',"n\n150"')  # far from its start
    (file,) = _file(tmp_path, content)
    assert ranges.divide([file], Workers(Beam(), tmp_path)) == [file]
    (file,) = _file(tmp_path, content.replace(b"\n150", b" 150"), multiline=False)
    parts = ranges.divide([file], Workers(Beam(), tmp_path))
    assert len(parts) > 10
    rows = [row for part in parts for c in sources.read(part) for row in c.rows[2]]
    assert [row.as_py().decode() for row in rows] == [f"n {i}" for i in range(200)]


def test_a_large_file_gives_the_same_examples_in_parts(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_bytes(
        "".join(json.dumps(row) + "\n" for row in _rows()).encode()
    )
    (tmp_path / "b.csv").write_bytes(_lines(_rows()))
    monkeypatch.setattr(ranges, "RANGE_BYTES", 500)
    for name in ("a.jsonl", "b.csv"):
        summary, rows = _run(_config(f"{tmp_path}/{name}"), tmp_path / name[0])
        _check(rows)
        assert summary["files"] == 1


class Mem(FileSystem):
    """Files that are nowhere but in this dictionary."""

    files: dict[str, bytes] = {}

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, content in self.files.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), 7.0)

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        assert compression_type == CompressionTypes.UNCOMPRESSED
        if "forbidden" in path:
            raise PermissionError(f"no permission for {path}")
        return io.BytesIO(self.files[path])

    def _refuse(self, *args, **kwargs):
        raise AssertionError("logs are only read")

    mkdirs = create = copy = rename = delete = _refuse
    exists = size = last_updated = checksum = metadata = _refuse


@pytest.mark.parametrize("format", ["csv", "csv.gz", "jsonl", "parquet", "tfrecord.gz"])
def test_logs_far_away_are_read_by_beams_file_systems(format, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE_BYTES", 500)
    rows = _rows()
    if format == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=50)
        content = sink.getvalue().to_pybytes()
    elif format == "tfrecord.gz":
        content = _tfrecord(rows, tmp_path)
    elif format == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        content = _lines(rows)
    content = gzip.compress(content) if format == "csv.gz" else content
    monkeypatch.setattr(Mem, "files", {f"mem://logs/a.{format}": content})
    config = _config("mem://logs/*")
    if format == "tfrecord.gz":
        _, got = _run(config, tmp_path / "out")
        _check([{**row, "note": row["note"][0]} for row in got])
    else:
        _, got = _run(config, tmp_path / "out")
        _check(got)
    # A change of the file is seen, so the cache does not serve old examples.
    (example_gen_,) = (s for s in stages.stages(config) if s.component == "ExampleGen")
    assert example_gen_.depends(config)[-1] == [
        (f"mem://logs/a.{format}", len(content), 7.0)
    ]


def _tfrecord(rows, folder):
    import tensorflow as tf

    path = str(folder / "x.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row in rows:
            bytes_ = tf.train.BytesList
            features = {
                "user": tf.train.Feature(
                    bytes_list=bytes_(value=[row["user"].encode()])
                ),
                "note": tf.train.Feature(
                    bytes_list=bytes_(value=[row["note"].encode()])
                ),
                "click": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[row["click"]])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    with open(path, "rb") as file:
        return file.read()


def test_what_cannot_be_opened_or_listed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Mem, "files", {"mem://logs/forbidden.csv": b"x"})
    with pytest.raises(PipelineError, match="forbidden.csv: cannot be read.*no permis"):
        _run(_config("mem://logs/*"), tmp_path / "a")
    with pytest.raises(PipelineError, match=r"data.logs.0: 'nowhere://x/\*' cannot be"):
        _run(_config("nowhere://x/*"), tmp_path / "b")


@pytest.mark.parametrize("pattern", ["*.csv", "*/*.csv", "day=*/a.csv", "day=1/*"])
def test_a_relative_glob_starts_at_the_working_directory(
    pattern, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "day=1/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"a\n1\n")
    (found,) = sources.find([("logs", pattern, None)], Reading(delimiter=","))
    assert (tmp_path / found.path).is_file()


def test_a_file_that_is_called_like_a_glob_is_meant(tmp_path):
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).write_bytes(b"a\n1\n")
    pattern = str(tmp_path / "a[1].csv")
    (found,) = sources.find([("logs", pattern, None)], Reading(delimiter=","))
    assert found.path == pattern


@settings(max_examples=60)
@given(
    st.lists(st.text('ab\n\r",\u00e9 ', max_size=6), min_size=1, max_size=8),
    st.integers(1, 30),
)
def test_a_range_reads_what_a_slice_holds(lines, at):
    content = "\n".join(lines).encode()
    stop = min(at + 5, len(content))
    stream = io.BytesIO(content)
    stream.seek(min(at, len(content)))
    part = io.BufferedReader(sources._Range(stream, stop), 3)
    assert part.read() == content[at:stop]


def test_numbers_of_over_64_bits_stay_what_they_are():
    lines = [b'{"x": 123456789012345678901234567890}\n', b'{"x": NaN}\n', b'{"x": 1}\n']
    (chunk,) = formats.read_jsonl(io.BufferedReader(io.BytesIO(b"".join(lines))))
    assert chunk.rows.column("x").to_pylist()[0] == b"123456789012345678901234567890"


def test_heads_are_the_first_rows_of_some_files(tmp_path):
    for i in range(60):
        lines = "".join(f"{i},{j}\n" for j in range(3))
        (tmp_path / f"log-{i:02}.csv").write_text(f"file,row\n{lines}")
    files = sources.find([("logs", f"{tmp_path}/*.csv", None)], Reading())
    heads = sources.heads(files, 60)
    read = [sum(chunk.rows.num_rows for chunk in sources.read(h)) for h in heads]
    assert read == [3, 0] * 30
    assert sources.heads(files[:2], 60)[0].rows == 30


def test_reading_ends_with_the_chunk_of_the_last_row_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "CHUNK_ROWS", 10)
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n' * 100)
    (file,) = sources.find([("logs", str(tmp_path / "log.jsonl"), None)], Reading())
    (head,) = sources.heads([file], 25)
    assert [chunk.rows.num_rows for chunk in sources.read(head)] == [10, 10, 10]


def test_a_head_is_not_cut_into_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE_BYTES", 1 << 10)
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n' * 5000)
    (file,) = sources.find([("logs", str(tmp_path / "log.jsonl"), None)], Reading())
    workers = Workers(Beam(), tmp_path)
    assert len(ranges.divide([file], workers)) > 1
    assert ranges.divide(sources.heads([file], 25), workers) == sources.heads(
        [file], 25
    )
