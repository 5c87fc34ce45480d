"""InfraValidator: asks the exported model as a server would, and compares the answers.

    examples, transformed_examples, model -> infra_blessing

Logged rows go through every signature of the SavedModel, in a session as TF Serving
runs it, and through the embedded server over HTTP. The offline scores are those of the
Keras model on the records that Transform wrote for the same rows. They must agree: then
the transform that serves is the one that the model was trained with.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

import serving
import tfmtl
from pipeline import blessing, saved_model
from pipeline.beam import arrow
from pipeline.components.evaluator import SERVING, SPLIT
from pipeline.config import Config
from pipeline.errors import PipelineError
from serving.client import RequestError
from serving.server import StartError

TOLERANCE = 1e-5
_ROWS = 1000
_HTTP_ROWS = 50
_OVER_HTTP = " over HTTP"

Arrays = dict[str, np.ndarray]


def infra_validator(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Checks that the exported model can be served, and serves the offline scores.

    Args:
        config: The pipeline's config.
        inputs: "examples", "transformed_examples", "model".
        outputs: "infra_blessing".

    Returns:
        {"rows", "blessed", "difference": the largest between served and offline
        scores, None where nothing could be compared, "notes"}.

    Raises:
        PipelineError: The test splits of the two kinds of examples do not fit together.
    """
    path = inputs["model"] / SERVING
    batch = _head(inputs["examples"] / SPLIT)
    signature = saved_model.signatures(path)[saved_model.DEFAULT]
    raw = arrow.raw_inputs(batch, saved_model.features(signature))
    transformed, offline = _offline(
        inputs["model"] / "Format-Keras" / "model.keras",
        inputs["transformed_examples"] / SPLIT,
        batch.num_rows,
    )
    known = {
        saved_model.DEFAULT: raw,
        "examples": {"examples": np.array(list(_serialized(raw)), object)},
        "transformed": transformed,
    }
    reasons: list[str] = []
    largest = None
    answers = [_ask_session(path, known), _ask_server(path, config.name, raw)]
    for where, served in (pair for answer in answers for pair in answer):
        if isinstance(served, str):
            reasons.append(f"{where}: {served}")
        elif where.removesuffix(_OVER_HTTP) in known:
            difference, found = _compare(config, served, offline)
            reasons += [f"{where}: {reason}" for reason in found]
            largest = max(difference, largest or 0.0)
        elif not all(np.isfinite(array).all() for array in served.values()):
            reasons.append(f"{where}: an output is not finite for empty inputs")
    blessed = blessing.write(outputs["infra_blessing"], reasons)
    notes = [f"not blessed: {reason}" for reason in reasons]
    if blessed:
        notes = [f"served scores are within {largest:.1e} of the offline scores"]
    return {
        "rows": batch.num_rows,
        "blessed": blessed,
        "difference": largest,
        "notes": notes,
    }


def _head(split: Path) -> pa.RecordBatch:
    """The first rows of a split, as one batch."""
    batches = list(arrow.read_batches(split, stop=_ROWS))
    if not batches:
        raise PipelineError(
            f"a check of the served model needs rows. Received: none in {split}. Make "
            "the test split larger: data.split"
        )
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


def _offline(model_file: Path, split: Path, rows: int) -> tuple[Arrays, Arrays]:
    """The first rows of the transformed examples, and the Keras model's scores."""
    model = keras.models.load_model(model_file, compile=False)
    records = tfmtl.data.read(
        str(split / "*.tfrecord.gz"), model.features, model.tasks, rows
    )
    features, _ = next(iter(records))
    transformed = {name: tensor.numpy() for name, tensor in features.items()}
    found = len(next(iter(transformed.values())))
    if found != rows:
        raise PipelineError(
            "the test split must have the same rows before and after Transform. "
            f"Received: {rows} and {found} in {split}. Run Transform again"
        )
    scores = model(features, training=False)
    return transformed, {name: np.asarray(s)[:, 0] for name, s in scores.items()}


def _serialized(raw: Arrays) -> Iterator[bytes]:
    """Raw rows as serialized `tf.Example`s; what is missing is left out."""
    for row in range(len(next(iter(raw.values())))):
        example = tf.train.Example()
        for name, array in raw.items():
            values = np.atleast_1d(array[row])  # (max_length,) of a sequence
            if array.dtype == object:
                length = np.flatnonzero(values != b"").max(initial=-1) + 1
                values, kind = values[:length], "bytes_list"
            else:
                values, kind = values[~np.isnan(values)], "float_list"
            if len(values):
                feature = example.features.feature[name]
                getattr(feature, kind).value.extend(values)
        yield example.SerializeToString()


def _ask_session(
    path: Path, known: Mapping[str, Arrays]
) -> Iterator[tuple[str, Arrays | str]]:
    """Yields each signature's outputs, or what went wrong, as a server would see it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        try:
            graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
        except Exception as error:  # whatever it is, a server could not load it either
            yield "session", f"the SavedModel does not load: {_first_line(error)}"
            return
        for name, signature in sorted(graph.signature_def.items()):
            if name.startswith("__"):  # the initialisation, not for callers
                continue
            values = known.get(name) or _empty(signature)
            try:
                feed = {
                    info.name: values[key] for key, info in signature.inputs.items()
                }
                fetch = {key: info.name for key, info in signature.outputs.items()}
                yield name, session.run(fetch, feed)
            except Exception as error:
                yield name, f"the call fails: {_first_line(error)}"


def _ask_server(
    path: Path, name: str, raw: Arrays
) -> Iterator[tuple[str, Arrays | str]]:
    """Yields what the embedded server answers to some rows, or what went wrong."""
    where = f"{saved_model.DEFAULT}{_OVER_HTTP}"
    with tempfile.TemporaryDirectory() as base:
        Path(base, "1").symlink_to(path.resolve())
        try:
            with (
                serving.start(base, name) as server,
                serving.Client(server.url, name) as client,
            ):
                rows = {key: array[:_HTTP_ROWS] for key, array in raw.items()}
                yield where, client.predict(rows)
        except (StartError, RequestError) as error:
            yield where, _first_line(error)


def _compare(config: Config, served: Arrays, offline: Arrays) -> tuple[float, list]:
    """The largest difference to the offline scores, and what is not within limits."""
    largest, reasons = 0.0, []
    for task in config.tasks:
        if task.name not in served:
            reasons.append(f"there is no output {task.name!r}")
            continue
        scores = np.asarray(served[task.name], np.float64).reshape(-1)
        expected = offline[task.name][: len(scores)].astype(np.float64)
        difference = np.abs(scores - expected)
        if task.kind != "binary":
            difference /= np.maximum(1.0, np.abs(expected))
        worst = int(np.argmax(difference))  # NaN counts as the largest
        if not difference[worst] <= TOLERANCE:
            reasons.append(
                f"{task.name} must be within {TOLERANCE:g} of the offline scores. Row "
                f"{worst}: served {scores[worst]:.6g}, offline {expected[worst]:.6g}. "
                "Export the model again with the transform it was trained with"
            )
        largest = np.fmax(largest, difference[worst])  # not NaN
    return float(largest), reasons


def _empty(signature: Any) -> Arrays:
    """One row of empty values, for a signature that logged rows do not fit."""
    arrays = {}
    for name, info in signature.inputs.items():
        dtype = tf.dtypes.as_dtype(info.dtype)
        shape = [max(dim.size, 1) for dim in info.tensor_shape.dim]
        value: Any = b"" if dtype == tf.string else 0
        arrays[name] = np.full(shape, value, dtype.as_numpy_dtype)
    return arrays


def _first_line(error: Exception) -> str:
    """What an error says, without TensorFlow's preamble and list of nodes."""
    text = str(error).removeprefix("Graph execution error:").strip()
    return text.splitlines()[0] if text else type(error).__name__
