"""BulkInferrer: scores are those of REST, no row is lost, and what it refuses."""

import csv
import gzip
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from engines import ENGINES, engine

import serving
from pipeline.__main__ import main
from pipeline.artifacts import examples, saved_model
from pipeline.components.bulk_inferrer.component import bulk_inferrer
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.logs import formats, parts

FEATURES = [
    {"name": "user", "kind": "categorical"},
    {"name": "price", "kind": "numeric"},
    {"name": "history", "kind": "sequence", "of": "user", "max_length": 2},
]


def make_config(destination, features=FEATURES, rate=0.0, **data):
    """The split's column, labels and slices are in no file of rows."""
    return Config.model_validate(
        {
            "name": "toy",
            "workspace": "unused",
            "data": {
                "logs": ["unused"],
                "split": {"by": "time", "column": "time"},
                "max_dead_letter_rate": rate,
                **data,
            },
            "features": features,
            "tasks": [{"name": "click"}, {"name": "watch", "kind": "regression"}],
            "evaluate": {"slices": ["hour"]},
            "push": {"destination": str(destination)},
        }
    )


def make_rows(count=60):
    """Rows as a JSON service logs them; a JSON `null` is missing everywhere."""
    return [
        {
            "request": f"r{i}",
            "user": None if i % 7 == 0 else i,
            "price": None if i % 11 == 0 else i / 8,
            "history": [f"v{i}", "NA", "last"][: i % 4],
        }
        for i in range(count)
    ]


def write_rows(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".tfrecord":
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                example = tf.train.Example()
                for name, value in row.items():
                    feature = example.features.feature[name]
                    if isinstance(value, int):
                        feature.int64_list.value.append(value)
                    elif isinstance(value, float):
                        feature.float_list.value.append(value)
                    elif value is not None:
                        items = [value] if isinstance(value, str) else value
                        feature.bytes_list.value.extend(x.encode() for x in items)
                writer.write(example.SerializeToString())
    elif ".csv" in path.suffixes:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            for row in rows:
                cells = {k: "NULL" if v is None else v for k, v in row.items()}
                if cells["user"] != "NULL":
                    cells["user"] = float(cells["user"])  # 5.0 is 5
                writer.writerow(cells | {"history": "|".join(row["history"])})
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asked(server, rows):
    """{output: scores} by REST, of the newest version."""
    plain = [
        {
            "user": "" if row["user"] is None else str(row["user"]),
            "price": float("nan") if row["price"] is None else row["price"],
            "history": ["" if item == "NA" else item for item in row["history"][-2:]],
        }
        for row in rows
    ]
    answer = serving.Client(server.url, "toy").predict(plain)
    return {name: np.asarray(of).reshape(-1) for name, of in answer.items()}


def read(folder, format="parquet"):
    """{column: values} of all shards, and the files' names."""
    files = sorted(path for path in folder.iterdir() if path.name.startswith("scores-"))
    rows = []
    for file in files:
        if format == "parquet":
            rows += pq.read_table(file).to_pylist()
        elif format == "csv":
            with file.open(newline="") as lines:
                rows += csv.DictReader(lines)
        else:
            records = tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()
            for record in records:
                found = tf.train.Example.FromString(record).features.feature
                values = {
                    name: getattr(of, of.WhichOneof("kind")).value
                    for name, of in found.items()
                }
                rows.append({name: v[0] for name, v in values.items()})
    return rows, [file.name for file in files]


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.jsonl", "a.csv", "a.csv.gz", "a.tfrecord"]
)
def test_the_scores_of_every_format_are_those_of_rest(
    server, base_path, tmp_path, name
):
    rows = make_rows()
    path = write_rows(tmp_path / name, rows)
    summary = bulk_inferrer(make_config(base_path), [path], tmp_path / "out")
    assert summary["model"] == str(base_path / "2")
    assert (summary["rows_in"], summary["scored"], summary["dead"]) == (60, 60, 0)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    found, _ = read(tmp_path / "out")
    assert [row["request"] for row in found] == [row["request"] for row in rows]
    assert "history" not in found[0]
    for output, expected in asked(server, rows).items():
        scores = np.array([row[output] for row in found])
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", ["parquet", "csv", "tfrecord"])
def test_ids_and_scores_in_every_format(base_path, tmp_path, format):
    path = write_rows(tmp_path / "a.parquet", make_rows())
    keep = {"request": "request", "id": "user"}
    out = tmp_path / "out"
    bulk_inferrer(make_config(base_path), [path], out, keep=keep, format=format)
    found, names = read(out, format)
    extension = {"tfrecord": "tfrecord.gz"}.get(format, format)
    assert names == [f"scores-00000-of-00001.{extension}"]
    texts = [
        {k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()}
        for row in found
    ]
    assert set(texts[1]) == {"request", "id", "click", "watch"}
    for i, row in enumerate(texts):
        assert row["request"] == f"r{i}"
        assert str(row.get("id") or "") == ("" if i % 7 == 0 else str(i))
        if i % 11:
            assert float(row["click"]) == pytest.approx(i / 8 + 2, abs=1e-6)


def test_no_row_is_lost(base_path, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "CHUNK_ROWS", 8)
    monkeypatch.setattr(examples, "BATCH_ROWS", 5)
    rows = make_rows()
    rows[10]["price"] = "cheap"
    path = tmp_path / "a.jsonl"
    write_rows(path, rows)
    lines = path.read_text().splitlines()
    lines[20] = "{broken"
    path.write_text("\n".join(lines))
    out = tmp_path / "out"
    summary = bulk_inferrer(make_config(base_path, rate=0.1), [str(path)], out)
    assert (summary["rows_in"], summary["scored"], summary["dead"]) == (60, 58, 2)
    letters = [
        json.loads(line)
        for file in (out / "dead_letter").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert [letter["line"] for letter in letters] == [11, 21]
    assert letters[0]["record"]["request"] == "r10"
    assert "'cheap' is not a number" in letters[0]["reason"]
    assert "2 rows do not fit" in summary["notes"][-1]
    scores = [(row["request"], row["click"]) for row in read(out)[0] if row["price"]]
    left = [i for i in range(1, 60) if i % 11 and i not in (10, 20)]
    assert scores == [(f"r{i}", pytest.approx(i / 8 + 2)) for i in left]


def test_scores_alone(base_path, tmp_path):
    rows = make_rows()
    rows[10]["price"] = "cheap"
    path = write_rows(tmp_path / "a.jsonl", rows)
    config = make_config(base_path, rate=0.1)
    bulk_inferrer(config, [path], tmp_path / "out", keep={})
    found, _ = read(tmp_path / "out")
    assert len(found) == 59 and set(found[0]) == {"click", "watch"}


def test_too_many_dead_letters_give_no_scores(base_path, tmp_path):
    rows = make_rows()
    rows[10]["price"] = "cheap"
    path = write_rows(tmp_path / "a.jsonl", rows)
    with pytest.raises(PipelineError, match="1 of 60 rows .* do not fit"):
        bulk_inferrer(make_config(base_path), [path], tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["dead_letter"]


def test_a_file_that_is_cut_off_gives_no_scores(base_path, tmp_path):
    write_rows(tmp_path / "a.csv", make_rows())
    whole = gzip.compress((tmp_path / "a.csv").read_bytes())
    (tmp_path / "b.csv.gz").write_bytes(whole[:-20])
    config = make_config(base_path)
    with pytest.raises(PipelineError, match="cannot be read to its end"):
        bulk_inferrer(config, [f"{tmp_path}/*.csv*"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupted_job_leaves_nothing(base_path, tmp_path, monkeypatch):
    path = write_rows(tmp_path / "a.csv", make_rows())

    def interrupt(workers, items, transform):
        (tmp_path / "out" / "dead_letter").mkdir()
        (tmp_path / "out" / "scores-0").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.beam.results.run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bulk_inferrer(make_config(base_path), [path], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_large_files_become_shards_in_the_order_of_the_rows(
    base_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    monkeypatch.setattr(parts, "GROUP_BYTES", 1)
    table = pa.Table.from_pylist(make_rows())
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    path = f"{tmp_path}/*.parquet"
    bulk_inferrer(make_config(base_path), [path], tmp_path / "out")
    found, names = read(tmp_path / "out")
    assert names == [f"scores-{i:05d}-of-00003.parquet" for i in range(3)]
    assert [row["request"] for row in found] == [f"r{i}" for i in range(60)]


def test_columns_that_are_kept(base_path, tmp_path):
    rows = [{**row, "click": 1.0, "tags": ["x"]} for row in make_rows()]
    path = write_rows(tmp_path / "a.parquet", rows)
    config = make_config(base_path)
    summary = bulk_inferrer(config, [path], tmp_path / "out")
    assert list(summary["kept"]) == ["request", "user", "price"]
    assert "not kept: click," in summary["notes"][0]
    keep = {"label": "click", "tags": "tags"}
    bulk_inferrer(config, [path], tmp_path / "named", keep=keep)
    found, _ = read(tmp_path / "named")
    assert set(found[0]) == {"label", "tags", "click", "watch"}
    assert (
        found[8]["label"] == 1
        and found[8]["click"] == 3
        and found[8]["tags"] == (["x"])
    )
    for keep, format, problem in (
        ({"click": "click"}, "parquet", "'click' is an output .* NEW=click"),
        ({"tags": "tags"}, "csv", "'tags' is list.* csv cannot hold"),
        ({"id": "usr"}, "csv", "no column 'usr'.*'user'"),
    ):
        with pytest.raises(PipelineError, match=problem):
            bulk_inferrer(config, [path], tmp_path / "no", keep=keep, format=format)


def test_kept_columns_stand_in_files_as_in_the_rows(base_path, tmp_path):
    """Files differ in what they have beside the features."""
    rows = make_rows(3)
    write_rows(tmp_path / "a.csv", [{**row, "note": "005"} for row in rows])
    write_rows(tmp_path / "b.csv", rows)
    path = f"{tmp_path}/*.csv"
    bulk_inferrer(make_config(base_path), [path], tmp_path / "out")
    found, _ = read(tmp_path / "out")
    assert [row["note"] for row in found] == ["005"] * 3 + [None] * 3
    assert [row["user"] for row in found] == ["NULL", "1.0", "2.0"] * 2


def test_a_text_that_a_csv_cannot_hold_is_a_dead_letter(base_path, tmp_path):
    table = pa.Table.from_pylist(make_rows(3))
    notes = pa.array([b"fine", b"\xff", None], pa.binary())
    pq.write_table(table.append_column("note", notes), tmp_path / "a.parquet")
    config, path = make_config(base_path, rate=0.5), f"{tmp_path}/a.parquet"
    summary = bulk_inferrer(config, [path], tmp_path / "out", format="csv")
    assert (summary["scored"], summary["dead"]) == (2, 1)
    assert "column 'note': b'\\xff' is not UTF-8" in summary["notes"][-1]
    assert bulk_inferrer(config, [path], tmp_path / "kept")["scored"] == 3


def test_what_is_refused(base_path, saved_models, tmp_path):
    path = write_rows(tmp_path / "a.parquet", make_rows())
    config, out = make_config(base_path), tmp_path / "out"

    def refused(problem, config=config, rows=path, output=out, **arguments):
        with pytest.raises(PipelineError, match=problem):
            bulk_inferrer(config, [rows], output, **arguments)

    refused("no model is served: .* name a model", make_config(tmp_path / "none"))
    refused("a SavedModel is expected, .* none of these", model=tmp_path)
    refused("no file matches", rows=f"{tmp_path}/none*.csv")
    lacking = write_rows(tmp_path / "b.jsonl", [{"user": 1, "histori": ["a"]}])
    refused("takes it in: .* no column 'price'", rows=lacking)
    refused("no column 'history'. Did you mean 'histori'", rows=lacking)
    features = [*FEATURES[:2], {**FEATURES[2], "name": "history"}]
    made = make_config(
        base_path,
        features,
        time="time",
        history=[{"name": "history", "key": "user", "column": "user"}],
    )
    refused("no column 'history'. ExampleGen makes it", made, lacking)
    nested = tmp_path / "c.parquet"
    pq.write_table(
        pa.table({"user": [{"a": 1}], "price": [1.0], "history": [[]]}), nested
    )
    refused("--input: column 'user' is struct", rows=str(nested))
    (out / "old").mkdir(parents=True)
    refused("which is not empty")
    refused("which is not empty", output=tmp_path / "a.parquet")


class Fused(tf.Module):
    """Two tasks, of which `rank` makes a score."""

    def __init__(self):
        super().__init__()
        self.bias = tf.Variable(1.0)

    def default(self, x):
        return {"click": (x + self.bias)[:, None], "like": (x * 2)[:, None]}

    def rank(self, x):
        found = self.default(x)
        return found | {"score": found["click"] * found["like"]}

    def score(self, x):
        return {"score": self.rank(x)["score"]}

    def wide(self, x):
        return {"click": tf.stack([x, x, self.bias * x], 1)}


def save(folder, **signatures):
    module = Fused()
    spec = tf.TensorSpec([None], tf.float32, "x")
    functions = {
        name: tf.function(getattr(module, method)).get_concrete_function(x=spec)
        for name, method in signatures.items()
    }
    tf.saved_model.save(module, str(folder), signatures=functions)
    return folder


class Lists(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.string, n) for n in ("by", "seen", "tags")
        ]
    )
    def default(self, by, seen, tags):
        weight = tf.strings.to_number(tf.strings.regex_replace(tags[:, 0], ".*:", ""))
        return {"click": weight}


def test_lists_are_read_as_examples_are(tmp_path):
    model = tmp_path / "model"
    module = Lists()
    signatures = {"serving_default": module.default.get_concrete_function()}
    tf.saved_model.save(module, str(model), signatures=signatures)
    lists = {"kind": "sequence", "of": "user", "max_length": 2}
    features = [
        FEATURES[0],
        {**lists, "name": "seen"},
        {**lists, "name": "by", "side_of": "seen"},
        {"name": "tags", "kind": "multivalued", "weights": "w", "max_length": 2},
    ]
    row = {"tags": ["a"], "w": [0.5], "seen": ["u", "v", "u"], "by": ["x", "y", "x"]}
    rows = [row, {**row, "by": ["x", "y"]}, {**row, "w": [2.0]}]
    path = write_rows(tmp_path / "a.parquet", rows)
    config = make_config(tmp_path / "none", features, rate=0.5)
    summary = bulk_inferrer(config, [path], tmp_path / "out", model)
    assert [found["click"] for found in read(tmp_path / "out")[0]] == [0.5, 2.0]
    assert "'by': 2 values, but 3 in 'seen'" in str(summary["notes"])


@pytest.mark.parametrize("rank", ["rank", "score", "default"])
def test_the_fused_score_is_written_too(tmp_path, rank):
    model = save(tmp_path / "model", serving_default="default", rank=rank)
    (tmp_path / "a.csv").write_text("x\n0.5\n2\n")
    rows = [f"{tmp_path}/a.csv"]
    config = make_config(tmp_path / "none")
    summary = bulk_inferrer(config, rows, tmp_path / "out", model)
    found, _ = read(tmp_path / "out")
    fused = {} if rank == "default" else {"score": 12.0}
    assert found[1] == {"x": "2", "click": 3.0, "like": 4.0, **fused}
    assert summary["outputs"] == ["click", "like", *fused]


def test_an_output_of_several_values_is_refused(tmp_path):
    model = save(tmp_path / "model", serving_default="wide")
    (tmp_path / "a.csv").write_text("x\n0.5\n")
    with pytest.raises(PipelineError, match=r"one value a row.*'click' .*\(-1, 3\)"):
        bulk_inferrer(
            make_config(tmp_path), [f"{tmp_path}/a.csv"], tmp_path / "out", model
        )


def test_where_a_model_is_found(base_path, saved_models, tmp_path):
    shutil.copytree(saved_models / "one", tmp_path / "7" / "Format-Serving")
    assert saved_model.find(tmp_path / "7") == tmp_path / "7" / "Format-Serving"
    assert saved_model.find(base_path) == base_path / "2"
    assert saved_model.find(base_path / "1") == base_path / "1"


def test_the_command_line(saved_models, tmp_path, capsys):
    shutil.copytree(saved_models / "one", tmp_path / "models" / "1")
    path = write_rows(tmp_path / "a.csv", make_rows())
    config = make_config(tmp_path / "models").model_dump(mode="json")
    (tmp_path / "toy.yaml").write_text(json.dumps(config))  # which is YAML too
    command = ["predict", str(tmp_path / "toy.yaml"), "--input", path]
    out = str(tmp_path / "out")
    options = ["--keep", "request,id=user", "--format", "csv"]
    assert main([*command, "--output", out, *options]) == 0
    shown = capsys.readouterr().out
    assert "rows in 60 = scored 60 + dead 0; " in shown
    assert f"click, watch by {tmp_path / 'models' / '1'}: {out}" in shown
    assert set(read(tmp_path / "out", "csv")[0][0]) == {
        "request",
        "id",
        "click",
        "watch",
    }
    assert main([*command, "--output", out]) == 2
    assert "which is not empty" in capsys.readouterr().err
    assert main([*command, "--output", f"{out}2", "--streeming"]) == 2
    assert "--streeming: neither a flag of this" in capsys.readouterr().err
    assert main([*command, "--output", f"{out}2", "--keep", "a=user,a=request"]) == 2
    assert "two columns of one name" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_scores_what_the_local_runner_does(
    base_path, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(parts, "GROUP_BYTES", 1)
    for i in range(4):
        write_rows(tmp_path / f"{i}.jsonl", make_rows())
    rows = [f"{tmp_path}/*.jsonl"]
    local = bulk_inferrer(make_config(base_path), rows, tmp_path / "local")
    with engine(name, tmp_path) as beam:
        config = make_config(base_path).model_copy(update={"beam": beam})
        assert bulk_inferrer(config, rows, tmp_path / "far") == local
    far = read(tmp_path / "far")
    assert len(far[1]) == 4 and repr(far) == repr(read(tmp_path / "local"))
