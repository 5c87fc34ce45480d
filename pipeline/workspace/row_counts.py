"""What became of every row between the logs and the TFRecords."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.workspace.metadata import Metadata

# What ExampleGen counts beside the rows that it writes.
_LEFT_OUT = ("dead", "filtered", "incomplete")


def summary(workspace: Path, artifacts: Mapping[str, Path]) -> str:
    """Returns a line: rows in, out and dead-lettered, and rows a second.

    The seconds are those that the stages took when they ran, cached by now or not.

    Args:
        workspace: Of the run.
        artifacts: {name: folder} of a run up to Transform.

    Raises:
        PipelineError: If the rows do not add up.
    """
    read = json.loads((artifacts["examples"] / layout.SUMMARY).read_text())
    file = artifacts["transformed_examples"] / layout.SUMMARY
    written = json.loads(file.read_text())
    rows_in, out = read["rows_in"], sum(written["rows"].values())
    left_out = {name: read[name] for name in _LEFT_OUT if name in read}
    if rows_in != out + sum(left_out.values()):
        parts = ", ".join(f"{count:,} {name}" for name, count in left_out.items())
        raise PipelineError(
            "rows in must be rows out and those that were left out. Received: "
            f"{rows_in:,} rows in, {out:,} out, {parts}. An artifact was changed by "
            "hand; run again with --no-cache"
        )
    wanted = set(artifacts.values())
    store = Metadata(workspace / layout.METADATA)
    seconds = sum(
        execution.seconds or 0
        for execution in store.executions(state="complete")
        if execution.component != "LogSource"
        and wanted.intersection(a.path for a in store.outputs(execution.id))
    )
    parts = "".join(f" + {name} {count:,}" for name, count in left_out.items())
    return (
        f"rows in {rows_in:,} = rows out {out:,}{parts}; "
        f"{seconds:.1f} s, {rows_in / seconds:,.0f} rows/s"
    )
