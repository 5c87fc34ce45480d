"""Warm-up requests: recorded with the model, replayed before a version serves.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLog. The
first requests pay for graph optimisation, and a model that loads but cannot answer
is found out, so that the version before it serves on.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.errors import Code, ServingError, invalid
from serving.models.examples import of_input
from serving.models.inference import classify, regress
from serving.models.servable import Servable

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MAX_RECORDS = 1000


def write_warmup(
    saved_model_dir: str | Path,
    requests: Mapping[str, Iterable[Mapping[str, np.ndarray]]],
) -> Path:
    """Writes the warm-up requests of a SavedModel, in place of those that it has.

    A request for a signature of the classify or regress API, whose one input holds
    serialized tf.Examples, is written as one of that API.

    Args:
        saved_model_dir: path. The directory of saved_model.pb.
        requests: dict. The requests for each signature, each with one array for each
            of its inputs.

    Returns:
        Path, the file written.

    Raises:
        ValueError: there are no requests, or more than the server replays.
    """
    methods = _methods(Path(saved_model_dir))
    logs = [
        _log(name, methods.get(name, ""), inputs).SerializeToString()
        for name, several in requests.items()
        for inputs in several
    ]
    if not 1 <= len(logs) <= _MAX_RECORDS:
        raise ValueError(
            f"Warm-up takes 1 to {_MAX_RECORDS} requests. Received: {len(logs)}"
        )
    path = Path(saved_model_dir) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in logs:
            writer.write(record)
    return path


def _methods(saved_model_dir: Path) -> dict[str, str]:
    """The API of each signature; none where there is no SavedModel yet."""
    file = saved_model_dir / "saved_model.pb"
    if not file.is_file():
        return {}
    proto = SavedModel.FromString(file.read_bytes())
    return {
        name: signature.method_name
        for graph in proto.meta_graphs
        for name, signature in graph.signature_def.items()
    }


def _log(name: str, method: str, inputs: Mapping[str, np.ndarray]) -> PredictionLog:
    log = PredictionLog()
    api = method.rpartition("/")[2]
    if api in ("classify", "regress"):
        request = getattr(log, f"{api}_log").request
        for serialized in inputs["inputs"]:
            request.input.example_list.examples.add().ParseFromString(serialized)
    else:
        request = log.predict_log.request
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    request.model_spec.signature_name = name
    return log


def replay_warmup(servable: Servable, path: Path) -> int:
    """Replays the warm-up requests of a version, if it has any.

    Args:
        servable: Servable. The version, just loaded.
        path: Path. Its directory.

    Returns:
        int, the number of requests replayed.

    Raises:
        ServingError: a request failed or cannot be read; the version is not fit.
    """
    file = path / WARMUP_FILE
    if not file.is_file():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            if count == _MAX_RECORDS:
                raise invalid(f"more than {_MAX_RECORDS} records")
            _replay(servable, PredictionLog.FromString(record))
            count += 1
    except ServingError as error:
        raise ServingError(
            error.code, f"Warm-up request {count} failed: {error.message}"
        ) from error
    except (tf.errors.OpError, ValueError) as error:
        raise ServingError(
            Code.DATA_LOSS, f"Cannot read warm-up request {count}: {error}"
        ) from error
    return count


def _replay(servable: Servable, log: PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        signature = servable.known_signature(request.model_spec.signature_name)
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        servable.run(signature, inputs)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        run = classify if kind == "classify_log" else regress
        run(servable, request.model_spec.signature_name, of_input(request.input))
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            run = classify if task.method_name.endswith("/classify") else regress
            run(servable, task.model_spec.signature_name, of_input(request.input))
    else:
        raise ServingError(
            Code.UNIMPLEMENTED, f"Unsupported log type for warm-up: {kind}"
        )
