"""TensorFlow Transform: compute_and_apply_vocabulary and scale_to_z_score."""

import csv
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import apache_beam as beam  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_transform as tft  # noqa: E402
import tensorflow_transform.beam as tft_beam  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # noqa: E402
from tensorflow_transform.tf_metadata import schema_utils  # noqa: E402
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder  # noqa: E402
from tfx_bsl.public import tfxio  # noqa: E402


def preprocess(logs: Path, job: dict, output: Path, temporary: str) -> None:
    """Runs the job over a whole CSV."""
    floats = dict.fromkeys([*job["numbers"], *job["labels"]], tf.float32)
    specs = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in floats.items()}
    # A missing string is no value, which only a sparse tensor can say.
    specs |= {name: tf.io.VarLenFeature(tf.string) for name in job["categories"]}
    schema = schema_utils.schema_from_feature_spec(specs)
    with logs.open() as file:
        names = next(csv.reader(file))
    source = tfxio.BeamRecordCsvTFXIO(
        physical_format="text", column_names=names, schema=schema
    )

    def preprocessing_fn(inputs):
        outputs = {name: inputs[name] for name in job["labels"]}
        for name in job["numbers"]:
            outputs[name] = tft.scale_to_z_score(inputs[name])
        for name in job["categories"]:
            sparse = inputs[name]
            # No value in a whole batch makes its width 0.
            shape = [sparse.dense_shape[0], 1]
            sparse = tf.SparseTensor(sparse.indices, sparse.values, shape)
            dense = tf.squeeze(tf.sparse.to_dense(sparse, ""), 1)
            outputs[name] = tft.compute_and_apply_vocabulary(dense, vocab_filename=name)
        return outputs

    runner = FnApiRunner() if job["runner"] == "fn_api" else None
    with beam.Pipeline(runner=runner) as pipeline:
        with tft_beam.Context(temp_dir=temporary):
            rows = (
                pipeline
                | beam.io.ReadFromText(
                    str(logs), skip_header_lines=1, coder=beam.coders.BytesCoder()
                )
                | source.BeamSource()
            )
            (transformed, metadata), function = (
                rows,
                source.TensorAdapterConfig(),
            ) | tft_beam.AnalyzeAndTransformDataset(
                preprocessing_fn, output_record_batches=True
            )
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            _ = (
                transformed
                | beam.FlatMapTuple(lambda batch, _: encoder.encode(batch))
                | beam.io.WriteToTFRecord(
                    str(output / "records"), file_name_suffix=".gz"
                )
            )
            _ = function | tft_beam.WriteTransformFn(str(output / "transform"))
    shutil.copytree(
        output / "transform" / "transform_fn" / "assets", output / "vocabulary"
    )


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    output = Path(job["output"])
    with tempfile.TemporaryDirectory() as temporary:
        logs = Path(temporary, "logs.csv")
        with open(job["logs"]) as whole, logs.open("w") as part:
            part.writelines(itertools.islice(whole, job["rows"] + 1))
        started = time.perf_counter()
        preprocess(logs, job, output, temporary)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
