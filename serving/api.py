"""TF Serving's REST API as a function: method, path and body to status and JSON."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from serving.errors import Code, ServingError, invalid, servable_not_found
from serving.examples import classify, read_examples, regress
from serving.json_reader import parse
from serving.json_tensor import format_error
from serving.json_writer import object_text, quote
from serving.model import Model
from serving.predict_request import read_predict
from serving.predict_response import write_predict
from serving.servable import DEFAULT_SIGNATURE, Servable

_log = logging.getLogger("serving")

_MODEL = r"(?i:/v1/models/(?P<name>[^/:]+)"
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_MODEL + _VERSION + r":(?P<verb>classify|regress|predict))")
_STATUS = re.compile(_MODEL + _VERSION + r"(?P<metadata>/metadata)?)")


def answer(
    models: Mapping[str, Model], method: str, path: str, body: bytes
) -> tuple[int, str]:
    """Answers one request.

    Args:
        models: dict. The served models by name.
        method: str. The HTTP method.
        path: str. The path as sent, with its query string if it has one.
        body: bytes. The request body.

    Returns:
        The HTTP status and the JSON text, which holds `error` if the request failed.
    """
    try:
        return 200, _route(models, method, path, body)
    except ServingError as error:
        return error.http_status, error_text(error.message)
    except Exception as error:
        _log.exception("%s %s failed inside the server", method, path)
        return 500, error_text(f"Internal error: {type(error).__name__}: {error}")


def error_text(message: str) -> str:
    """Writes the JSON of a failed request."""
    return object_text([("error", quote(message))])


def _route(models: Mapping[str, Model], method: str, path: str, body: bytes) -> str:
    if method == "POST" and (match := _PREDICTION.fullmatch(path)):
        return _predict(models, match, parse(body))
    if method == "GET" and (match := _STATUS.fullmatch(path)):
        return _metadata(models, match) if match["metadata"] else _status(models, match)
    if method == "GET" and path.lower() == "/v1/models":
        raise invalid("Missing model name in request.")
    raise invalid(f"Malformed request: {method} {path}")


def _predict(models: Mapping[str, Model], match: re.Match, document: Any) -> str:
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(
            document,
            "not formatted correctly. 'signature_name' key must be a string value.",
        )
    if match["verb"].lower() != "predict":
        examples = read_examples(document)
        run = classify if match["verb"].lower() == "classify" else regress
        with _acquire(models, match) as (_, servable):
            return run(servable, name, examples)
    with _acquire(models, match) as (_, servable):
        return _run_signature(servable, name, document)


def _run_signature(servable: Servable, name: str, document: Mapping[str, Any]) -> str:
    signature = servable.signature(name)
    if signature is None:
        raise invalid(
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in '
            "signature def"
        )
    inputs, rows = read_predict(document, signature.inputs)
    return write_predict(servable.run(signature, inputs), rows)


def _acquire(models: Mapping[str, Model], match: re.Match) -> Any:
    version = int(match["version"]) if match["version"] else None
    if match["name"] not in models:
        if match["label"]:
            raise invalid(f"Unrecognized servable version label: {match['label']}")
        wanted = f"Latest({match['name']})"
        if version is not None:
            wanted = f"Specific({match['name']}, {version})"
        raise servable_not_found(wanted)
    return models[match["name"]].acquire(version, match["label"])


def _status(models: Mapping[str, Model], match: re.Match) -> str:
    name, version = match["name"], match["version"]
    states = models[name].states() if name in models else []
    if version:
        states = [state for state in states if state[0] == int(version)]
    if not states:
        missing = f"version {version} of" if version else "any versions of"
        raise ServingError(Code.NOT_FOUND, f"Could not find {missing} model {name}")
    listed = [
        {
            "version": str(number),
            "state": state,
            "status": {
                "error_code": error.code.name if error else "OK",
                "error_message": error.message if error else "",
            },
        }
        for number, state, error in states
    ]
    return json.dumps({"model_version_status": listed}, indent=1) + "\n"


def _metadata(models: Mapping[str, Model], match: re.Match) -> str:
    with _acquire(models, match) as (number, servable):
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
            "name": match["name"], "version": str(number), "signature_name": "",
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    }  # fmt: skip
    return json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
