"""The graphs of the jobs, as they are handed to a service that has only them."""

import base64
import bz2
import json
import re
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import raw_config
from paths import ROOT

from pipeline.__main__ import main
from pipeline.artifacts.examples import Range
from pipeline.components.evaluator.importance import MeasureDrops
from pipeline.components.evaluator.job import Measured, MeasureModels
from pipeline.config import Config
from pipeline.progress import Done

FLAGS = [
    "--runner=DataflowRunner",
    "--dry_run=True",  # all but the submission
    "--project=a-project",
    "--region=europe-west1",
    "--temp_location=gs://a-bucket/tmp",
    "--sdk_container_image=registry/tfmtl-beam:0.1",
]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """All jobs of preprocess, with a join, and of the evaluator, as protos."""
    folder = tmp_path_factory.mktemp("graphs")
    shown = [{"user": f"u{i % 5}", "time": i, "x": i} for i in range(60)]
    clicks = [{"user": "u1", "time": i} for i in range(0, 60, 7)]
    for name, rows in (("shown", shown), ("clicks", clicks)):
        lines = [json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    action = {"name": "click", "logs": [f"{folder}/clicks.jsonl"], "key": "user"}
    raw = raw_config(
        {
            "logs": [f"{folder}/shown.jsonl"],
            "time": "time",
            "actions": [{**action, "time": "time", "window": 5}],
            "split": {"by": "hash", "column": "x"},
        },
        features=["user", {"name": "x", "kind": "numeric"}],
        workspace=str(folder / "out"),
    )
    path = folder / "config.json"
    path.write_text(json.dumps(raw))
    found, run = [], beam.Pipeline.run

    def recorded(job, test_runner_api="AUTO"):
        if test_runner_api:  # not the copy that Beam makes of it
            found.append(job.to_runner_api())
        return run(job, test_runner_api)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam.Pipeline, "run", recorded)
        assert main(["preprocess", str(path)]) == 0
    config = Config.model_validate(raw)
    measured = Measured(config, {"model": folder}, {"click": ["model"]})
    drops = MeasureDrops(config, folder, folder, Done(folder))
    rows = Range(0, [folder], 0, 1)
    for items, transform in ((rows, MeasureModels(measured)), ("", drops)):
        job = beam.Pipeline()
        _ = job | beam.Create([items]) | transform
        found.append(job.to_runner_api())
    return folder, found


def test_nothing_but_the_workspace_is_of_this_machine(graphs):
    folder, protos = graphs
    assert len(protos) >= 5
    seen = 0
    for proto in protos:
        for transform in proto.components.transforms.values():
            for code in _pickled(transform.spec.payload):
                seen += 1
                # Beam's own lambdas say in which file they are, for tracebacks.
                for path in (folder, sys.prefix):
                    code = code.replace(str(path).encode(), b"")
                for path in (ROOT, Path.home()):
                    assert f"{path}/".encode() not in code, transform.unique_name
    assert seen > 10


def _pickled(payload):
    """What Beam has pickled into a payload: compressed, in base64."""
    for text in re.findall(rb"Qlpo[A-Za-z0-9+/]+={0,2}", payload):  # "BZh", and more
        yield bz2.decompress(base64.b64decode(text))


@pytest.mark.slow
def test_dataflow_takes_them(graphs):
    """Its coders are deterministic where it groups, its features supported."""
    pytest.importorskip("google.cloud.dataflow", reason="needs the extra `gcp`")
    for proto in graphs[1]:
        job = beam.Pipeline.from_runner_api(proto, None, PipelineOptions(FLAGS))
        runner = beam.runners.create_runner("DataflowRunner")
        runner.run_pipeline(job, PipelineOptions(FLAGS))
        environments = runner.proto_pipeline.components.environments.values()
        assert any(b"registry/tfmtl-beam:0.1" in e.payload for e in environments)
