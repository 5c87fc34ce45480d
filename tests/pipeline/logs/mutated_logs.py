"""Small logs in every format, and what chance does to them before they are read."""

import bz2
import csv
import gzip
import io
import json

import arrow_arrays
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

ROWS = 30
COLUMNS = {
    "user": [f"u{i}" for i in range(ROWS)],
    "item": [i % 7 for i in range(ROWS)],
    "price": [i / 4 for i in range(ROWS)],
    "tags": [[f"t{i % 3}", "t9"] for i in range(ROWS)],
    "when": [f"2024-01-{i + 1:02d} 10:00:00" for i in range(ROWS)],
    "click": [i % 2 for i in range(ROWS)],
    "watch": [i * 1.5 for i in range(ROWS)],
}
FORMATS = ("csv", "csv.gz", "jsonl", "jsonl.bz2", "parquet", "tfrecord", "tfrecord.gz")

# What people, tools and disks leave where a value should be.
_TEXTS = st.sampled_from(
    [
        "", " ", "NA", "nan", "-inf", "1e999", "1,5", "5.0", "007", "0x10", "True",
        "yes", '"', '\\"', "a|b", "['a', 'b']", '["a"]', '{"a": 1}', "2024-13-45",
        "2024-01-01T00:00:00+99:00", "0001-01-01", "99999-01-01", "\0", "\n", "\r\n",
        "\ufeff", "\u2028", "é", "中", "😀", "x" * 3000, "9" * 400, "\t", ",",
    ]
) | st.text(max_size=5)  # fmt: skip
_NUMBERS = (
    st.sampled_from(
        [0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(10**30), 1e308, 5e-324, 0.5]
    )
    | st.floats()
)
_VALUES = (
    st.none()
    | st.booleans()
    | _TEXTS
    | _NUMBERS
    | st.lists(_TEXTS | _NUMBERS | st.none(), max_size=3)
    | st.just({"a": {"b": [1, "x", None]}})
    | st.just([[1], [["a"]]])
)
_HEADERS = st.sampled_from(
    [
        "",
        " item",
        "ITEM",
        "user",
        "Unnamed: 0",
        "a.b",
        "用户",
        "x" * 300,
        "\0",
        '"',
        "é",
    ]
) | st.text(max_size=4)
_PIECES = st.sampled_from(
    [
        b"", b"\n", b"\r", b"\0", b'"', b"\\", b",", b",,,,,,,,,", b"\xff\xfe", b"\xef",
        b"\xef\xbb\xbf", b"{", b"}", b"[1]\n", b"null\n", b"\n\n\n", b"#", b"PAR1",
        b"\x1f\x8b", b"\xed\xa0\x80", b'{"user": {"a": 1}}\n',
    ]
) | st.binary(max_size=8)  # fmt: skip


@st.composite
def logs(draw):
    """(format, bytes) of a log with up to three mutations of its values, and of bytes.

    Most keep their bytes, so that their values are read.
    """
    name = draw(st.sampled_from(FORMATS))
    columns = {column: list(values) for column, values in COLUMNS.items()}
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, columns)
    typed = {}
    if name == "parquet" and draw(st.booleans()):
        column = draw(st.sampled_from(list(COLUMNS)))
        typed = {column: draw(arrow_arrays.arrays(len(columns.get(column, [])) or 1))}
    format_, _, codec = name.partition(".")
    data = written(format_, columns, typed)
    is_text = format_ in ("csv", "jsonl")
    if draw(st.integers(0, 9)) < (4 if is_text else 1):
        data = _mutated_bytes(draw, data)
    if is_text and draw(st.integers(0, 9)) == 0:
        encoding = draw(st.sampled_from(["utf-16", "latin-1", "utf-8-sig", "cp037"]))
        data = data.decode("utf-8", "replace").encode(encoding, "replace")
    if codec and draw(st.integers(0, 19)):  # else the name says what is not so
        data = (gzip if codec == "gz" else bz2).compress(data)
        if draw(st.integers(0, 19)) == 0:
            data = _mutated_bytes(draw, data)
    return name, data


def written(format_, columns, typed=()):
    """The bytes of a log.

    Args:
        format_: "csv", "jsonl", "parquet" or "tfrecord".
        columns: {name: values}.
        typed: {name: Arrow array} that a Parquet file has instead.
    """
    return _WRITERS[format_](columns, dict(typed))


def _mutate(draw, columns):
    """Changes a cell, a column or a row of all."""
    rows = len(next(iter(columns.values()), []))
    if not rows:
        return
    column = draw(st.sampled_from(list(columns)))
    row = draw(st.integers(0, rows - 1))
    match draw(
        st.sampled_from(
            ["cell"] * 6
            + "fill fill drop rename add type type row repeat empty sort".split()
        )
    ):
        case "cell":
            columns[column][row] = draw(_VALUES)
        case "fill":
            columns[column] = [draw(_VALUES)] * rows
        case "drop":
            del columns[column]
        case "rename":
            columns[draw(_HEADERS)] = columns.pop(column)
        case "add":
            columns[draw(_HEADERS)] = [draw(_VALUES)] * rows
        case "type":
            to = draw(st.sampled_from([str, bool, lambda v: [v], lambda v: {"v": v}]))
            columns[column] = [to(value) for value in columns[column]]
        case "row":
            for values in columns.values():
                del values[row]
        case "repeat":
            times = draw(st.integers(2, 5))
            columns.update({name: values * times for name, values in columns.items()})
        case "empty":
            stop = draw(st.integers(0, 3))
            columns.update({name: v[:stop] for name, v in columns.items()})
        case "sort":
            columns[column] = columns[column][::-1]


def _mutated_bytes(draw, data):
    """Puts something in, takes something out or repeats it, at up to three places."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["insert", "cut", "overwrite", "repeat", "end"])):
            case "insert":
                data = data[:at] + draw(_PIECES) + data[at:]
            case "cut":
                data = data[:at] + data[at + length :]
            case "overwrite":
                piece = draw(_PIECES)
                data = data[:at] + piece + data[at + len(piece) :]
            case "repeat":
                data = data[: at + length] + data[at:]
            case "end":
                data = data[:at]
    return data


def _csv(columns, _):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    # Python 3.10 writes no NUL.
    plain = lambda value: _field(value).replace("\0", "\x01")  # noqa: E731
    writer.writerow(map(plain, columns))
    writer.writerows(map(plain, row) for row in zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "replace")


def _field(value):
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "|".join(value)
    return "" if value is None else str(value)


def _jsonl(columns, _):
    rows = zip(*columns.values(), strict=True)
    objects = [dict(zip(columns, row, strict=True)) for row in rows]
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


def _parquet(columns, typed):
    arrays = {}
    for name, values in columns.items():
        array = typed.get(name)
        if array is None or len(array) != len(values):
            array = _array(values)
        arrays[name] = array
    table = pa.table(list(arrays.values()), list(arrays))
    file = io.BytesIO()
    try:
        pq.write_table(table, file, row_group_size=7)
    except (pa.ArrowException, OSError):  # Parquet does not hold such a type.
        return _parquet(columns, {})
    return file.getvalue()


def _array(values):
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.array([None if v is None else str(v) for v in values])


def _tfrecord(columns, _):
    import tensorflow as tf

    from pipeline.logs import tfrecord

    train = tf.train

    def feature(value):
        values = value if isinstance(value, list) else [value]
        values = [v for v in values if v is not None]
        if values and all(isinstance(v, float) for v in values):
            return train.Feature(float_list=train.FloatList(value=values))
        if values and all(isinstance(v, int) and abs(v) < 2**63 for v in values):
            whole = list(map(int, values))  # protobuf warns of booleans
            return train.Feature(int64_list=train.Int64List(value=whole))
        texts = [str(v).encode("utf-8", "surrogatepass") for v in values]
        return train.Feature(bytes_list=train.BytesList(value=texts))

    framed = []
    for row in zip(*columns.values(), strict=True):
        features = {n: feature(v) for n, v in zip(columns, row, strict=True)}
        example = train.Example(features=train.Features(feature=features))
        record = example.SerializeToString()
        length = len(record).to_bytes(8, "little")
        framed += [length, tfrecord._checksum(length), record]
        framed.append(tfrecord._checksum(record))
    return b"".join(framed)


_WRITERS = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "tfrecord": _tfrecord,
}
