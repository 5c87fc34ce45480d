"""TF Serving's REST API as a function: method, path and body to status and JSON."""

import contextlib
import json
import logging
import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf import json_format

from serving import metrics
from serving.errors import Code, ServingError, invalid
from serving.models.manager import ServedModels
from serving.models.servable import DEFAULT_SIGNATURE, Servable
from serving.rest.examples_request import read_examples
from serving.rest.inference_response import classify_text, regress_text
from serving.rest.json_reader import parse
from serving.rest.json_tensor import format_error
from serving.rest.json_writer import object_text, quote
from serving.rest.predict_request import read_predict
from serving.rest.predict_response import write_predict

_log = logging.getLogger("serving")

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(
    r"(?i:/v1/models/(?P<name>[^/:]+)"
    + _VERSION
    + ":(?P<verb>classify|regress|predict))"
)
# The name may be missing here: then "Missing model name" is the fault.
_STATUS = re.compile(
    "(?i:/v1/models(?:/(?P<name>[^/:]+))?" + _VERSION + "(?P<metadata>/metadata)?)"
)
_PREDICTIONS = ("predict", "classify", "regress")


@dataclass(frozen=True)
class _Target:
    """What a path names: a model, perhaps one version of it, and what to do."""

    name: str
    version: int | None
    label: str | None
    verb: str  # predict, classify, regress, metadata or status


def answer(
    models: ServedModels, method: str, path: str, body: bytes
) -> tuple[int, str]:
    """Answers one request.

    Args:
        models: ServedModels. What is served.
        method: str. The HTTP method.
        path: str. The path as sent, with its query string if it has one.
        body: bytes. The request body.

    Returns:
        The HTTP status and the JSON text, which holds `error` if the request failed;
        or is empty, where TF Serving's is.
    """
    start = time.perf_counter()
    target = None
    try:
        target = _target(method, path)
        status, text, code = 200, _perform(models, target, body), "OK"
    except ServingError as error:
        status, code = error.http_status, error.code.name
        text = error_text(error.message) if error.message else ""
    except Exception as error:
        _log.exception("%s %s failed inside the server", method, path)
        status, code = 500, Code.INTERNAL.name
        text = error_text(f"Internal error: {type(error).__name__}: {error}")
    if target and target.name in models and target.verb in _PREDICTIONS:
        metrics.REQUEST_COUNT.add(target.name, code)
        if status == 200:
            metrics.REQUEST_LATENCY.observe(
                (time.perf_counter() - start) * 1e6, target.name, target.verb, "REST"
            )
    return status, text


def count(models: ServedModels, method: str, path: str, code: Code) -> None:
    """Counts a request for a served model that was refused before it was looked at."""
    with contextlib.suppress(ServingError):
        target = _target(method, path)
        if target.name in models and target.verb in _PREDICTIONS:
            metrics.REQUEST_COUNT.add(target.name, code.name)


def error_text(message: str) -> str:
    """Writes the JSON of a failed request."""
    return object_text([("error", quote(message))])


def _target(method: str, path: str) -> _Target:
    pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    found = match.groupdict() if match else {}
    verb = found.get("verb")
    if not found or verb not in (None, *_PREDICTIONS):  # unlike the rest, by case too
        raise invalid(f"Malformed request: {method} {path}")
    version = int(found["version"]) if found["version"] else None
    if version is not None and version >= 2**63:
        raise invalid("")  # as upstream, which says nothing of it
    if not verb:
        verb = "metadata" if found["metadata"] == "/metadata" else "status"
    name = _unquote(found["name"] or "")
    return _Target(name, version, found["label"] and _unquote(found["label"]), verb)


def _unquote(part: str) -> str:
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")


def _perform(models: ServedModels, target: _Target, body: bytes) -> str:
    if not target.name:
        raise invalid("Missing model name in request.")
    if target.verb == "status":
        return _status(models, target)
    if target.verb == "metadata":
        return _metadata(models, target)
    return _predict(models, target, parse(body))


def _predict(models: ServedModels, target: _Target, document: Any) -> str:
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(
            document,
            "not formatted correctly. 'signature_name' key must be a string value.",
        )
    if target.verb == "predict":
        with _acquire(models, target) as (_, servable):
            return _run_signature(servable, name, document)
    examples = read_examples(document)
    write = classify_text if target.verb == "classify" else regress_text
    with _acquire(models, target) as (_, servable):
        return write(servable, name, examples)


def _run_signature(servable: Servable, name: str, document: Mapping[str, Any]) -> str:
    signature = servable.signature(name)
    if signature is None and (name or DEFAULT_SIGNATURE) in servable.signature_defs:
        raise invalid(  # it takes nothing in, as the loader's own
            f"Failed to get input map for signature: {name or 'DEFAULT'}"
        )
    if signature is None:
        raise invalid(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in '
            "signature def"
        )
    inputs, rows = read_predict(document, signature.inputs)
    return write_predict(servable.run(signature, inputs), rows)


def _acquire(
    models: ServedModels, target: _Target
) -> AbstractContextManager[tuple[int, Servable]]:
    return models.acquire(target.name, target.version, target.label)


def _status(models: ServedModels, target: _Target) -> str:
    listed = [
        {
            "version": str(number),
            "state": state,
            "status": {
                "error_code": error.code.name if error else "OK",
                "error_message": error.message if error else "",
            },
        }
        for number, state, error in models.states(target.name, target.version)
    ]
    return json.dumps({"model_version_status": listed}, indent=1) + "\n"


def _metadata(models: ServedModels, target: _Target) -> str:
    with _acquire(models, target) as (number, servable):
        signatures = {
            name: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name, definition in servable.signature_defs.items()
        }
    metadata = {
        "model_spec": {
            "name": target.name, "version": str(number), "signature_name": "",
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    }  # fmt: skip
    return json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
