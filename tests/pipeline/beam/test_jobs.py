"""The transforms of the Beam jobs, each in a pipeline that is not its own."""

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from pipeline.artifacts.examples import Range
from pipeline.beam.runner import pipeline
from pipeline.components.evaluator.job import Measured, MeasureModels
from pipeline.components.example_gen import join
from pipeline.components.example_gen.joined_logs import joined_logs
from pipeline.components.example_gen.plan import plan
from pipeline.components.example_gen.spec import Spec
from pipeline.components.transform import component as transform
from pipeline.config import Config
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.inspect import LogSchema
from pipeline.statistics.job import ColumnStatistics

ROWS = {
    "user": ["a", "b", "a", None],
    "x": [1.0, 2.0, 3.0, 4.0],
    "click": [1.0, 0.0] * 2,
}
CONFIG = {
    "name": "jobs",
    "workspace": "unused",
    "data": {"logs": ["unused"], "split": {"by": "hash", "column": "x"}},
    "features": [
        {"name": "user", "kind": "categorical"},
        {"name": "x", "kind": "numeric"},
    ],
    "tasks": [{"name": "click"}],
    "push": {"destination": "unused"},
}


def run(elements, transform, check):
    """Checks what a transform makes of elements, in Beam's way."""
    runner = pipeline(Beam()).runner
    with test_pipeline.TestPipeline(runner=runner) as job:
        assert_that(job | beam.Create(elements) | "Job" >> transform, check)


@pytest.fixture
def examples(tmp_path):
    """The shards of a split's examples."""
    folder = tmp_path / "examples" / "Split-train"
    folder.mkdir(parents=True)
    shard = folder / "data-00000-of-00001.parquet"
    pq.write_table(pa.table(ROWS), shard)
    return [shard]


def test_statistics(examples, tmp_path):
    statistics = ColumnStatistics(Config.model_validate(CONFIG), 4, tmp_path)

    def check(found):
        records = {column: record for (_, column, _), record in found}
        assert len(found) == len(records) == 4
        assert records[""]["rows"] == 4
        assert records["x"]["mean"] == 2.5
        assert records["user"]["top"] == [("a", 2), ("b", 1)]

    run([("train", examples, 0, 3), ("train", examples, 3, 4)], statistics, check)
    (shard,) = (tmp_path / "vocabulary" / "user").iterdir()
    assert pq.read_table(shard)["value"].to_pylist() == ["a", "b"]


class _Graph(tf.Module):
    """Stands for the transform graph: the length of a text, and twice a number."""

    specs = {"user": tf.TensorSpec([None], tf.string), "x": tf.TensorSpec([None])}

    @tf.function(input_signature=[specs])
    def transform(self, raw):
        lengths = tf.strings.length(raw["user"])
        return {"user": tf.cast(lengths, tf.int64), "x": 2 * raw["x"]}


def test_transform(examples, tmp_path):
    tf.saved_model.save(_Graph(), str(tmp_path / "graph"))
    write = transform.WriteTransformed(
        Config.model_validate(CONFIG), tmp_path / "graph"
    )
    first, second, third = (tmp_path / f"{i}.tfrecord.gz" for i in range(3))
    lists = [
        [
            transform.Shard(examples, 0, 1, first),
            transform.Shard(examples, 1, 4, second),
        ],
        [transform.Shard(examples, 3, 9, third)],  # rows that are not there
    ]

    def check(found):
        found = dict(found)
        error = found.pop(str(third))
        assert isinstance(error, PipelineError) and "Received: 1 of" in str(error)
        assert found == {str(first): 1, str(second): 3}

    run(lists, write, check)
    records = tf.data.TFRecordDataset(str(second), "GZIP")
    read = [tf.train.Example.FromString(r.numpy()).features.feature for r in records]
    assert [row["x"].float_list.value[0] for row in read] == [4, 6, 8]
    assert [row["user"].int64_list.value[0] for row in read] == [1, 1, 0]
    assert not third.exists()


class _Model(tf.Module):
    specs = [tf.TensorSpec([None], tf.string, "user"), tf.TensorSpec([None], name="x")]

    @tf.function(input_signature=specs)
    def predict(self, user, x):
        return {"click": 1 / x}


def test_evaluator(examples, tmp_path):
    model = _Model()
    signatures = {"serving_default": model.predict}
    tf.saved_model.save(model, str(tmp_path / "model"), signatures)
    config = Config.model_validate({**CONFIG, "evaluate": {"slices": ["user"]}})
    sources = {"click": ["model"]}
    models = {"model": tmp_path / "model"}
    measure = MeasureModels(Measured(config, models, sources))

    def check(found):
        measured = {key[1:]: (r["rows"], r["model"]["auc"]) for key, r in found}
        assert measured == {
            ("all", "all"): (4, 0.75),
            ("user", "a"): (2, None),
            ("user", "b"): (1, None),
            ("user", "(missing)"): (1, None),
        }

    ranges = [Range(0, examples, 0, 2), Range(2, examples, 2, 4)]
    run(ranges, measure, check)


def test_join(tmp_path):
    logs = {
        "shown": "user,at,x\na,1,1\nb,2,2\na,3,3\n",
        "clicks": "user,at\na,4\na,4\nc,5\n,6\n",
    }
    schemas = []
    for name, text in logs.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        source = files.Source(str(path), "csv", len(text), "train")
        types = files.listed_columns(source)
        schemas.append(LogSchema([source], {}, [source], types, []))
    action = {"name": "click", "logs": "unused", "key": "user", "time": "at"}
    logs = dict.fromkeys(("train", "valid", "test"), ["unused"])
    data = {"logs": logs, "split": {"by": "given"}, "time": "at"}
    data["actions"] = [{**action, "window": 10, "incomplete": "keep"}]
    spec = Spec(Config.model_validate({**CONFIG, "data": data}))
    (tmp_path / "work").mkdir()
    planned = plan(spec, schemas[0], tmp_path, tmp_path / "work")
    read = joined_logs(spec, planned.columns, schemas[0], schemas[1:])
    elements = [(i, 0, [(0, log.parts[0])]) for i, log in enumerate(read)]

    def check(found):
        reports = {key: report for key, report in found}
        assert {key[:2] for key in reports} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        read_in = [(reports[0, i, 0].rows_in, reports[0, i, 0].dead) for i in (0, 1)]
        assert read_in == [(3, 0), (4, 1)]
        assert reports[1, 0, 0].rows == {"train": 3, "valid": 0, "test": 0}
        fates = {"matched": 1, "unmatched": 1, "duplicates": 1}
        assert reports[1, 1, 0].rows == fates

    run(elements, join.Join(planned, spec.data, read, 1), check)
    (shard,) = (tmp_path / "Split-train").iterdir()
    rows = pq.read_table(shard).to_pydict()
    assert (rows["user"], rows["click"]) == ([*"aba"], [0, 0, 1])


def test_an_error_of_a_job_is_a_result(tmp_path):
    source = files.Source(str(tmp_path / "gone.csv"), "csv", 1)
    history = {"name": "seen", "key": "user", "column": "x"}
    data = CONFIG["data"] | {"time": "x", "history": [history]}
    spec = Spec(Config.model_validate(CONFIG | {"data": data}))
    schema = LogSchema([source], {}, [source], {"x": pa.string()}, [])
    planned = plan(spec, schema, tmp_path, tmp_path)
    read = joined_logs(spec, planned.columns, schema, [])

    def check(found):
        ((key, error),) = found
        assert key == (0, 0, 7)
        assert isinstance(error, PipelineError) and "gone.csv" in str(error)

    run([(0, 7, [(0, source)])], join.Join(planned, spec.data, read, 1), check)
