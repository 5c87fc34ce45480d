"""The command `warmup`: requests for every signature of an exported model.

The pipeline's Trainer writes them along with the model. After `tfmtl.export` alone, or
for a model from elsewhere, this does.
"""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Arrays = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `warmup`."""
    parser.add_argument("saved_model", type=Path, help="the exported directory")
    parser.add_argument(
        "--json", metavar="FILE",
        help="rows of raw features (.json, .jsonl or .parquet); default: one row of "
        "missing values",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Writes the requests and replays them; prints what was written."""
    from serving.client.logged_rows import read
    from serving.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    from serving.errors import ServingError
    from serving.models.servable import Servable
    from serving.models.warmup import WARMUP_FILE, replay_warmup, write_warmup

    rows = read(Path(args.json)) if args.json else None
    try:
        with contextlib.closing(Servable(args.saved_model)) as servable:
            found = requests(servable.signature_defs, rows)
            write_warmup(args.saved_model, {name: [one] for name, one in found.items()})
            replay_warmup(servable, args.saved_model)
    except ServingError as error:
        raise ValueError(error.message) from error
    print(f"{args.saved_model / WARMUP_FILE}: {', '.join(found)}")
    return 0


def requests(
    definitions: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Arrays]:
    """Makes a request for every signature.

    A signature that takes what `serving_default` takes gets the rows; one whose only
    input is `examples` or `inputs`, strings, gets them as serialized `tf.Example`s; any
    other one a row of missing values.

    Args:
        definitions: {name: SignatureDef}.
        rows: Raw features, as a client would give them. Defaults to one row of missing
            values.

    Returns:
        {signature: {input: array}}.

    Raises:
        ValueError: a row does not fit `serving_default`.
    """
    from google.protobuf.json_format import MessageToDict

    from serving.models.examples import serialized

    inputs = {
        name: {
            key: MessageToDict(info, preserving_proto_field_name=True)
            for key, info in definition.inputs.items()
        }
        for name, definition in definitions.items()
        if definition.inputs
    }
    raw = inputs.get("serving_default", {})
    given = _arrays(raw, rows) if raw else {}
    found = {}
    for name, wanted in inputs.items():
        (key, *others), dtypes = wanted, {info["dtype"] for info in wanted.values()}
        if not others and key in ("examples", "inputs") and dtypes == {"DT_STRING"}:
            # No raw features, no values: the empty example.
            found[name] = {key: list(serialized(given)) if given else [b""]}
        else:
            found[name] = given if wanted == raw else _arrays(wanted, None)
    return found


def _arrays(inputs: Mapping[str, Any], rows: Any) -> Arrays:
    import tensorflow as tf

    from serving.client.encoding import input_columns
    from serving.loadtest.load import nothing
    from serving.rest.json_tensor import to_tensor

    columns = input_columns(rows or [nothing(inputs)], inputs)
    return {
        name: to_tensor(
            column, tf.as_dtype(inputs[name]["dtype"].removeprefix("DT_").lower()).name
        )
        for name, column in columns.items()
    }
