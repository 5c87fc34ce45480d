"""Asking an exported model as a server would: over HTTP, and in a session."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import serving
from pipeline.artifacts import saved_model
from pipeline.progress import NOWHERE, Done
from serving.client import RequestError
from serving.server import StartError

_TIMED = 21  # requests of which the median is the latency

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a signature gave.

    Args:
        signature: Its name.
        how: How it was asked: "", "over HTTP" or "for one user".
        outputs: {output: array}, or what went wrong.
    """

    signature: str
    how: str
    outputs: Arrays | str

    @property
    def where(self) -> str:
        """Signature and how it was asked, for a message."""
        return f"{self.signature} {self.how}".strip()


def server(
    path: Path, name: str, requests: Mapping[str, Arrays], done: Done = NOWHERE
) -> tuple[list[Answer], float | None]:
    """Asks the embedded server, which replays the warm-up requests before it answers.

    It runs a SavedModel as TF Serving does, in a session of its own graph.

    Args:
        path: The SavedModel.
        name: What to call the model.
        requests: {signature: {input: array}}.
        done: Counts the answers. Defaults to nowhere.

    Returns:
        An answer a signature; of `rank` another one, for one user and all candidates:
        how far the scores are from those of `serving_default` for the same rows. And
        the median time of a request of one row to serving_default in milliseconds, None
        if it cannot be asked.
    """
    answers, latency = [], None
    with tempfile.TemporaryDirectory() as base:
        Path(base, "1").symlink_to(path.resolve())
        try:
            with serving.start(base, name) as running:

                def ask(signature: str, inputs: Arrays) -> Arrays | str:
                    with serving.Client(
                        running.url, name, signature_name=signature
                    ) as client:
                        return _predict(client, inputs)

                for signature, inputs in sorted(requests.items()):
                    outputs = ask(signature, inputs)
                    answers.append(Answer(signature, "over HTTP", outputs))
                    done.add(1)
                if "rank" in requests:
                    apart = _one_user(path, ask, requests["rank"])
                    answers.append(Answer("rank", "for one user", apart))
                with serving.Client(running.url, name) as client:
                    latency = _latency(client, requests[saved_model.DEFAULT])
        except StartError as error:
            reason = first_line(error)
            answers.append(Answer(saved_model.DEFAULT, "over HTTP", reason))
    return answers, latency


def _one_user(path: Path, ask: Any, rows: Arrays) -> Arrays | str:
    """How far `rank` of one user is from the rows written out, above 1 in relation."""
    once = saved_model.user_features(path) or sorted(rows)[: len(rows) // 2]
    given_once = {k: v[:1] if k in once else v for k, v in rows.items()}
    written_out = {
        k: np.repeat(v[:1], len(v), axis=0) if k in once else v for k, v in rows.items()
    }
    ranked, expected = ask("rank", given_once), ask(saved_model.DEFAULT, written_out)
    for failed in (ranked, expected):
        if isinstance(failed, str):
            return failed
    return {
        name: (scores - expected[name]) / np.maximum(1.0, np.abs(expected[name]))
        for name, scores in ranked.items()
        if name in expected
    }


def session(path: Path, names: Sequence[str], done: Done = NOWHERE) -> Iterator[Answer]:
    """Asks signatures that logged rows do not fit for one empty row, in a session.

    Args:
        path: The SavedModel.
        names: The signatures. With none, it is not loaded.
        done: Counts the answers. Defaults to nowhere.

    Yields:
        An answer a signature.
    """
    if not names:
        return
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        try:
            graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
        except Exception as error:  # whatever it is, a server could not load it either
            reason = f"the SavedModel does not load: {first_line(error)}"
            yield Answer("session", "", reason)
            return
        for name in names:
            signature = graph.signature_def[name]
            values = _empty(signature)
            feed = {info.name: values[key] for key, info in signature.inputs.items()}
            fetch = {key: info.name for key, info in signature.outputs.items()}
            try:
                outputs = session.run(fetch, feed)
            except Exception as error:
                outputs = f"the call fails: {first_line(error)}"
            done.add(1)
            yield Answer(name, "", outputs)


def _predict(client: serving.Client, inputs: Arrays) -> Arrays | str:
    try:
        return client.predict(inputs)
    except (RequestError, ValueError) as error:
        return first_line(error)


def _latency(client: serving.Client, inputs: Arrays) -> float | None:
    row = {name: array[:1] for name, array in inputs.items()}
    seconds = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        if isinstance(_predict(client, row), str):
            return None
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def _empty(signature: Any) -> Arrays:
    """One row of empty values, for a signature that logged rows do not fit."""
    arrays = {}
    for name, info in signature.inputs.items():
        dtype = tf.dtypes.as_dtype(info.dtype)
        shape = [max(dim.size, 1) for dim in info.tensor_shape.dim]
        value: Any = b"" if dtype == tf.string else 0
        arrays[name] = np.full(shape, value, dtype.as_numpy_dtype)
    return arrays


def first_line(error: Exception) -> str:
    """What an error says, without TensorFlow's preamble and list of nodes."""
    text = str(error).removeprefix("Graph execution error:").strip()
    return text.splitlines()[0] if text else type(error).__name__
