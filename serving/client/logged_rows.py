"""Rows of features from a file, such as logged requests or training rows."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """Reads rows of features.

    A JSON file holds a list of rows; JSON Lines (`.jsonl`) one row a line, or one
    request body, {"instances": [...]} or {"inputs": {...}}; a Parquet file is read by
    pandas, if that is there.

    Args:
        path: Path. The file.

    Returns:
        list of dict, one a row.

    Raises:
        ValueError: the file holds anything else, or no row.
        OSError: it cannot be read.
    """
    if path.suffix == ".parquet":
        import pandas as pd

        frame = pd.read_parquet(path)
        # Not `to_dict`, which makes float64 of a float32, and so another text of it.
        columns = [frame[name].to_numpy() for name in frame]
        return [
            dict(zip(frame, values, strict=True))
            for values in zip(*columns, strict=True)
        ]
    rows: list[Row] = []
    text = path.read_text()
    try:
        if path.suffix == ".jsonl":
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            document = json.loads(text)
            documents = document if isinstance(document, list) else [document]
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} must hold JSON, or a JSON object a line as .jsonl: {error}"
        ) from error
    for number, document in enumerate(documents):
        rows += _rows(document, f"{path}, item {number}")
    if not rows:
        raise ValueError(f"{path} holds no row")
    return rows


def _rows(document: Any, where: str) -> Iterator[Row]:
    if isinstance(document, dict):
        if isinstance(document.get("instances"), list):
            for row in document["instances"]:
                yield from _rows(row, where)
            return
        if isinstance(document.get("inputs"), dict):
            yield from _of_columns(document["inputs"], where)
            return
        yield document
        return
    raise ValueError(
        f"{where}: a row is an object {{feature: value}}. Received: {document!r}"
    )


def _of_columns(columns: Mapping[str, Any], where: str) -> Iterator[Row]:
    """Rows of a request in the column form; what it gives once is for all rows."""
    if not all(isinstance(values, list) for values in columns.values()):
        raise ValueError(f"{where}: each input must be a list, a value for each row")
    count = max(map(len, columns.values()), default=0)
    for name, values in columns.items():
        if len(values) not in (1, count):
            raise ValueError(
                f"{where}: {name!r} must have 1 or {count} values. Received: "
                f"{len(values)}"
            )
    for number in range(count):
        yield {n: v[number] if len(v) == count else v[0] for n, v in columns.items()}
