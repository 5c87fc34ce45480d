"""One execution of a component.

An artifact stands at WORKSPACE/COMPONENT/ARTIFACT/EXECUTION. It is written under a
temporary name and renamed when its component is done, so what stands there is whole.
In the mirror of an object store EXECUTION has the time behind it, as machines number
their executions by themselves, and what stands there is whole in the store before.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline import progress
from pipeline.artifacts import layout
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.stages import Stage
from pipeline.storage import mirror, record
from pipeline.workspace.metadata import Artifact, Execution, Metadata

# By their text, which is what is left of an error of a Beam worker or of TensorFlow.
_REFUSALS = [
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
]


def execute(
    stage: Stage,
    config: Config,
    inputs: list[Artifact],
    key: str,
    run_name: str,
    store: Metadata,
    workspace: Path,
) -> tuple[Execution, list[Artifact]]:
    """Runs a component and records what became of it.

    Args:
        stage: The component's stage.
        config: The pipeline's config.
        inputs: What it reads.
        key: The fingerprint of the execution.
        run_name: The run that it belongs to.
        store: The metadata of the workspace.
        workspace: Where its artifacts go.

    Returns:
        The execution, and what it wrote. Where it went on from what a failed or killed
        one had left, its seconds are those of all parts.

    Raises:
        PipelineError: It failed of what the user can mend.
    """
    scratch_root = layout.scratch(workspace, stage.component, key)
    # Where there is something to go on from.
    earlier = 0.0
    if scratch_root.is_dir():
        earlier = store.earlier_seconds(stage.component, key)
    execution = store.begin(run_name, stage.component, key)
    is_mirror = mirror.url(workspace) is not None
    folder = f"{execution}-{time.time_ns():x}" if is_mirror else str(execution)
    final = {
        name: workspace / stage.component / name / folder for name in stage.outputs
    }
    staging = {name: path.with_suffix(".tmp") for name, path in final.items()}
    scratch = {name: scratch_root / name for name in stage.scratch}
    for directory in (*staging.values(), *scratch.values()):
        directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with progress.showing(stage.component):
            summary = stage.function()(
                config,
                {artifact.name: artifact.path for artifact in inputs},
                {**staging, **scratch},
            )
            for name, path in staging.items():
                mirror.push(path, final[name])
    except BaseException as error:
        reason = str(error) or type(error).__name__
        with contextlib.suppress(PipelineError):  # no room; the next run will see it
            store.fail(execution, reason)
        kept = _keep(staging.values())
        if not isinstance(error, PipelineError):
            # The last such line: from another process comes all of its traceback.
            lines = [
                line
                for line in reason.splitlines()
                if any(text in line for text in _REFUSALS)
            ]
            if not lines:
                raise
            reason = (
                f"{workspace}: the disk refuses: {lines[-1]}. Make room or permit it, "
                "or set `workspace` to a folder on another disk"
            )
        wrote = f"\n(what it wrote so far: {', '.join(kept)})" if kept else ""
        raise PipelineError(f"{stage.component}: {reason}{wrote}") from error
    for name, path in staging.items():
        path.rename(final[name])
        if notes := summary.get("notes"):  # they may say where something stands
            to = mirror.shown(final[name])
            moved = [note.replace(str(path), to) for note in notes]
            summary = {**summary, "notes": moved}
    outputs = store.complete(execution, summary, inputs, final, earlier)
    record.give(workspace / layout.METADATA)
    shutil.rmtree(scratch_root, ignore_errors=True)
    seconds = time.monotonic() - started + earlier
    done = Execution(
        execution, run_name, stage.component, key, "complete", started, seconds, summary
    )
    return done, outputs


def _keep(staging: Iterable[Path]) -> list[str]:
    """Keeps what a failed execution wrote, to see what went wrong; returns where."""
    kept = []
    for path in staging:
        if any(path.iterdir()):
            kept.append(str(path.rename(path.with_suffix(".failed"))))
        else:
            path.rmdir()
    return kept
