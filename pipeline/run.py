"""Runs the stages of a pipeline: cached where nothing has changed, one after the other.

An artifact stands at WORKSPACE/COMPONENT/ARTIFACT/EXECUTION. It is written under a
temporary name and renamed when its component is done, so what stands there is whole. A
run that was killed goes on where it stopped: complete stages are found in the cache.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts import layout
from pipeline.config import Config, nearest
from pipeline.errors import PipelineError
from pipeline.fingerprint import fingerprint
from pipeline.metadata import Artifact, Execution, Metadata
from pipeline.stages import Stage, stages
from serving.quiet import import_tensorflow_quietly

# By their text, which is what is left of an error of a Beam worker or of TensorFlow.
_REFUSALS = [
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
]


def run(
    config: Config,
    only: Sequence[str] = (),
    until: str | None = None,
    cache: bool = True,
    report: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Runs a pipeline.

    Args:
        config: The pipeline.
        only: Components to run, when not all; what they read must be in the cache.
        until: The last component to run. Defaults to the last of all.
        cache: Whether stages of which nothing has changed are taken from earlier runs.
        report: Takes one line a stage.

    Returns:
        {artifact name: directory} of all stages.

    Raises:
        PipelineError: If a stage fails; what is done stays done.
    """
    plan = stages(config)
    known = [stage.component for stage in plan]
    wanted = {_component(name, known) for name in only} or set(known)
    last = _component(until, known) if until else known[-1]
    if only:
        last = max(wanted, key=known.index)
    plan = plan[: known.index(last) + 1]
    workspace = Path(config.workspace)
    with _locked(workspace):
        store = Metadata(workspace / layout.METADATA)
        _sweep(workspace, store)
        name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        artifacts: dict[str, Artifact] = {}
        checked = False
        for stage in plan:
            inputs = _inputs(stage, artifacts, store)
            key = fingerprint(
                (stage.module, *stage.code),
                stage.depends(config),
                [f"{artifact.name}/{artifact.path.name}" for artifact in inputs],
            )
            found = _find(stage, key, store, config) if cache or only else None
            if stage.component in wanted and not (found and cache):
                if not checked:  # before hours of work, not after
                    _check(
                        config, [stage for stage in plan if stage.component in wanted]
                    )
                    checked = True
                found = _execute(stage, config, inputs, key, name, store, workspace)
                how = f"{found[0].seconds:8.1f} s"
            elif found:
                how = f"{'cached':>10}"
            else:
                raise PipelineError(
                    f"{' and '.join(sorted(wanted))} need what {stage.component} "
                    f"writes, and it has not run with this config. Run the pipeline "
                    f"without `only`, or with --only {stage.component} first."
                )
            execution, outputs = found
            artifacts.update({artifact.name: artifact for artifact in outputs})
            rows = execution.summary.get("rows")
            size = f"{rows:>12,} rows" if rows is not None else " " * 17
            report(f"{stage.component:<17}{size} {how}  {outputs[0].path}")
            for note in execution.summary.get("notes", []):
                report(f"{'':<17}  {note}")
            for warning in execution.summary.get("warnings", []):
                report(f"{'':<17}  warning: {warning}")
    return {name: artifact.path for name, artifact in artifacts.items()}


def _check(config: Config, plan: Iterable[Stage]) -> None:
    """Raises a ConfigError for what no stage of the plan could work with."""
    import_tensorflow_quietly()
    from pipeline.config import declarations  # late, for it imports Keras

    declarations.check(config)
    for stage in plan:
        stage.check(config)


def _component(name: str, known: list[str]) -> str:
    """Returns a component's name for a name in any spelling: transform, example_gen."""
    for component in known:
        if component.lower() == name.replace("_", "").replace("-", "").lower():
            return component
    raise PipelineError(
        f"There is no component {name!r}.{nearest(name, known)} Known: "
        f"{', '.join(known)}."
    )


@contextlib.contextmanager
def _locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace for one run at a time; the lock dies with the process."""
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        lock = open(workspace / ".lock", "w")
    except OSError as error:
        raise PipelineError(
            f"workspace: cannot write to {workspace}: {error.strerror}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"Another run is using the workspace {workspace}. Wait for it, or set "
                "`workspace` to another directory."
            ) from None
        yield


def _sweep(workspace: Path, store: Metadata) -> None:
    """Clears away what a killed run has left half done."""
    for execution in store.executions(state="running"):
        store.fail(execution.id, "interrupted")
    for staging in workspace.glob("*/*/*.tmp"):
        shutil.rmtree(staging)


def _inputs(
    stage: Stage, artifacts: dict[str, Artifact], store: Metadata
) -> list[Artifact]:
    inputs = [artifacts[n] for n in stage.inputs if n != "previous_statistics"]
    if "previous_statistics" in stage.inputs:
        for execution in store.executions("StatisticsGen", state="complete"):
            previous = store.outputs(execution.id)[0]
            if previous.id < artifacts["statistics"].id and previous.path.is_dir():
                inputs.append(
                    Artifact(previous.id, "previous_statistics", previous.path)
                )
                break
    return inputs


def _find(
    stage: Stage, key: str, store: Metadata, config: Config
) -> tuple[Execution, list[Artifact]] | None:
    found = store.find(stage.component, key)
    if found and stage.holds(config, {a.name: a.path for a in found[1]}):
        return found
    return None


def _execute(
    stage: Stage,
    config: Config,
    inputs: list[Artifact],
    key: str,
    run_name: str,
    store: Metadata,
    workspace: Path,
) -> tuple[Execution, list[Artifact]]:
    execution = store.begin(run_name, stage.component, key)
    final = {
        name: workspace / stage.component / name / str(execution)
        for name in stage.outputs
    }
    staging = {name: path.with_suffix(".tmp") for name, path in final.items()}
    scratch_root = workspace / "scratch" / stage.component / key
    scratch = {name: scratch_root / name for name in stage.scratch}
    for directory in (*staging.values(), *scratch.values()):
        directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with _clock(stage.component):
            summary = stage.function()(
                config,
                {artifact.name: artifact.path for artifact in inputs},
                {**staging, **scratch},
            )
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
            moved = [note.replace(str(path), str(final[name])) for note in notes]
            summary = {**summary, "notes": moved}
    outputs = store.complete(execution, summary, inputs, final)
    shutil.rmtree(scratch_root, ignore_errors=True)
    seconds = time.monotonic() - started
    done = Execution(
        execution, run_name, stage.component, key, "complete", started, seconds, summary
    )
    return done, outputs


@contextlib.contextmanager
def _clock(component: str) -> Iterator[None]:
    """Shows, on a terminal, which stage is running and for how long."""
    done = threading.Event()
    with tqdm(
        desc=component, bar_format="{desc} ... {elapsed}", leave=False, disable=None
    ) as bar:

        def tick() -> None:
            while not done.wait(1):
                bar.refresh()

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _keep(staging: Iterable[Path]) -> list[str]:
    """Keeps what a failed execution wrote, to see what went wrong; returns where."""
    kept = []
    for path in staging:
        if any(path.iterdir()):
            kept.append(str(path.rename(path.with_suffix(".failed"))))
        else:
            path.rmdir()
    return kept
