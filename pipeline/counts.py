"""What became of every row between the logs and the TFRecords."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.metadata import Metadata


def summary(workspace: Path, artefacts: Mapping[str, Path]) -> str:
    """Returns a line: rows in, out and dead-lettered, and rows a second.

    The seconds are those that the stages took when they ran, cached by now or not.

    Args:
        workspace: Of the run.
        artefacts: {name: folder} of a run up to Transform.

    Raises:
        PipelineError: If the rows do not add up.
    """
    read = json.loads((artefacts["examples"] / "summary.json").read_text())
    file = artefacts["transformed_examples"] / "summary.json"
    written = json.loads(file.read_text())
    rows_in, dead = read["rows_in"], read["dead"]
    out = sum(written["rows"].values())
    if rows_in != out + dead:
        raise PipelineError(
            f"rows in must be rows out and dead letters. Received: {rows_in:,} rows "
            f"in, {out:,} out, {dead:,} dead letters. An artefact was changed by hand; "
            "run again with --no-cache"
        )
    wanted = set(artefacts.values())
    store = Metadata(workspace / "metadata.sqlite")
    seconds = sum(
        execution.seconds or 0
        for execution in store.executions(state="complete")
        if execution.component != "LogSource"
        and wanted.intersection(a.path for a in store.outputs(execution.id))
    )
    return (
        f"rows in {rows_in:,} = rows out {out:,} + dead {dead:,}; "
        f"{seconds:.1f} s, {rows_in / seconds:,.0f} rows/s"
    )
