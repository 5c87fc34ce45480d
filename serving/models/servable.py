"""One loaded version of a model: a session over its SavedModel, ready to be asked.

The SavedModel is loaded as a server loads it, into a graph and a session, not as
Python objects. A model that only works while its Python objects are there (a Keras
model wrapped in a bare `tf.Module`, say) fails here as it fails in TF Serving.
"""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import (
    CallableOptions,
    ConfigProto,
    RunOptions,
)
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving import metrics
from serving.errors import Code, ServingError, invalid
from serving.models.batching import Batcher
from serving.models.saved_model import load_saved_model

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Signature:
    """What one signature takes and gives, and the function that runs it.

    Args:
        name: str. Its name in the SavedModel.
        inputs: dict. TensorFlow's dtype name of each input, in the order of `call`.
        outputs: tuple. The output names.
        fetched: tuple. Where each output stands among the results of `call`.
        call: function. Runs the graph on one array for each input.
    """

    name: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]
    fetched: tuple[int, ...]
    call: Callable[..., list[np.ndarray]]


class Servable:
    """A SavedModel in memory.

    Args:
        path: Path. A directory with saved_model.pb and variables/.
        model_name: str. The name under which its runs are counted. Defaults to "".
        timeout_ms: int. After how long a run is given up. Defaults to 0, never.

    Raises:
        ServingError: the directory holds no SavedModel, or one that does not load.
    """

    def __init__(self, path: Path, *, model_name: str = "", timeout_ms: int = 0):
        self.batcher: Batcher | None = None
        self.model_name = model_name
        self._timeout_ms = timeout_ms
        if not (path / "saved_model.pb").is_file():
            raise ServingError(
                Code.NOT_FOUND,
                "Specified file path does not appear to contain a SavedModel bundle "
                "(should have a file called `saved_model.pb`)\n"
                f"Specified file path: {path}",
            )
        if not (path / "variables").is_dir():
            # TF Serving calls such a version available and fails every request.
            raise ServingError(
                Code.NOT_FOUND,
                "A SavedModel needs its variables/ directory; copy the whole "
                f"directory. Specified file path: {path}",
            )
        try:
            self._session, meta_graph = load_saved_model(path, _config())
        except ServingError:
            raise
        except Exception as error:
            raise _load_error(error) from error
        self.signature_defs = dict(
            # those of the loader itself, "__saved_model_init_op", come last
            sorted(
                meta_graph.signature_def.items(),
                key=lambda item: (item[0].startswith("__"), item[0]),
            )
        )
        self._signatures = {
            name: self._signature(name, definition)
            for name, definition in self.signature_defs.items()
            if definition.inputs
        }

    def signature(self, name: str) -> Signature | None:
        """Gives a signature that can be run, or None; "" is `serving_default`."""
        return self._signatures.get(name or DEFAULT_SIGNATURE)

    def known_signature(self, name: str) -> Signature:
        """Gives a signature that can be run; "" is `serving_default`.

        Raises:
            ServingError: there is no such signature, in the words of TF Serving's gRPC.
        """
        signature = self.signature(name)
        if signature is None:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.',
            )
        return signature

    def _signature(self, name: str, definition: SignatureDef) -> Signature:
        inputs, outputs = sorted(definition.inputs), sorted(definition.outputs)
        fetches = [definition.outputs[name].name for name in outputs]
        distinct = list(dict.fromkeys(fetches))  # a tensor is fetched only once
        # A session's public ways to run check every feed in Python, 0.5 ms and more
        # a call; the callable of the C++ session costs a quarter of that.
        run = self._session._make_callable_from_options(
            CallableOptions(
                feed=[definition.inputs[input_name].name for input_name in inputs],
                fetch=distinct,
                run_options=RunOptions(timeout_in_ms=self._timeout_ms),
            )
        )
        return Signature(
            name=name,
            inputs={
                input_name: tf.as_dtype(definition.inputs[input_name].dtype).name
                for input_name in inputs
            },
            outputs=tuple(outputs),
            fetched=tuple(distinct.index(fetch) for fetch in fetches),
            call=run,
        )

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: Signature. One of this servable's own.
            inputs: dict. One array for each input, strings as object arrays of
                bytes. Shapes are not held against the signature, as in TF Serving.

        Returns:
            dict, one array for each output.

        Raises:
            ServingError: the graph failed on these inputs.
        """
        if inputs.keys() != signature.inputs.keys():
            raise invalid(
                f"The inputs must be {list(signature.inputs)}. "
                f"Received: {sorted(inputs)}"
            )
        if self.batcher is not None:
            run = functools.partial(self.run_alone, signature)
            # In one order, so that requests meet whatever theirs is.
            inputs = {name: inputs[name] for name in signature.inputs}
            return self.batcher.run(run, (id(self), signature.name), inputs)
        return self.run_alone(signature, inputs)

    def run_alone(
        self, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature at once, on inputs that are its own."""
        start = time.perf_counter()
        try:
            values = signature.call(*(inputs[name] for name in signature.inputs))
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from error
        if self.model_name:
            micros = (time.perf_counter() - start) * 1e6
            metrics.RUNTIME_LATENCY.observe(micros, self.model_name, "Predict", "TF1")
        return {
            name: _as_array(values[index])
            for name, index in zip(signature.outputs, signature.fetched, strict=True)
        }

    def close(self) -> None:
        """Frees the session; the servable cannot be asked any more."""
        self._session.close()


def _config() -> ConfigProto:
    config = ConfigProto()
    # Idle threads of TensorFlow look for work for a while before they sleep, which
    # under load takes a fifth of the time of the threads that have some.
    config.experimental.disable_thread_spinning = True
    return config


def _as_array(value: np.ndarray | np.generic | bytes) -> np.ndarray:
    """Gives a scalar result, which the session unwraps, its array back."""
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def _load_error(error: Exception) -> ServingError:
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), error.message)
    return ServingError(Code.UNKNOWN, f"{type(error).__name__}: {error}")
