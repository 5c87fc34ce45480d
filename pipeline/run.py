"""Runs the stages of a pipeline: cached where nothing has changed, one after the other.

A run that was killed goes on where it stopped: complete stages are found in the cache.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline import wildcards
from pipeline.artifacts import layout
from pipeline.config import Config, nearest
from pipeline.errors import PipelineError
from pipeline.execution import execute
from pipeline.fingerprint import fingerprint
from pipeline.stages import Stage, stages
from pipeline.storage import database, mirror
from pipeline.workspace import curves
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Artifact, Execution, Metadata
from serving.quiet import import_tensorflow_quietly


def run(
    config: Config,
    only: Sequence[str] = (),
    until: str | None = None,
    cache: bool = True,
    report: Callable[[str], None] = print,
    overrides: Sequence[str] = (),
) -> dict[str, Path]:
    """Runs a pipeline.

    Args:
        config: The pipeline.
        only: Components to run, when not all; what they read must be in the cache.
        until: The last component to run. Defaults to the last of all.
        cache: Whether stages of which nothing has changed are taken from earlier runs.
        report: Takes one line a stage.
        overrides: The "path.to.key=value" that the config was read with, to be kept
            with the run.

    Returns:
        {artifact name: directory} of all stages.

    Raises:
        PipelineError: If a stage fails; what is done stays done.
    """
    _plan(config, only, until)  # what is misspelt leaves no workspace
    workspace = Path(config.workspace)
    if at := mirror.url(workspace):
        report(f"{at} is worked on in {workspace}")
    is_new = not database.exists(workspace / layout.METADATA)
    if is_new and not workspace.is_absolute():
        report(f"a new workspace: {workspace.resolve()}")
    config = wildcards.expand(config)
    with workspaces.held(workspace):
        workspaces.clear(workspace)
        artifacts = run_held(config, only, until, cache, report, overrides)
        workspaces.evict(workspace, artifacts.values())
    return artifacts


def run_held(
    config: Config,
    only: Sequence[str] = (),
    until: str | None = None,
    cache: bool = True,
    report: Callable[[str], None] = print,
    overrides: Sequence[str] = (),
    name: str | None = None,
) -> dict[str, Path]:
    """Runs a pipeline as `run` does, in a workspace that the caller holds.

    Several may run there at once, as long as no two execute the same stage with the
    same config.

    Args:
        config: See `run`; so the others.
        only: Components to run.
        until: The last component to run.
        cache: Whether to use the cache.
        report: Takes one line a stage.
        overrides: What the config was read with.
        name: The run's. Defaults to the time of day.
    """
    plan, wanted = _plan(config, only, until)
    workspace = Path(config.workspace)
    store = Metadata(workspace / layout.METADATA)
    name = store.begin_run(
        name or datetime.datetime.now().strftime("%Y%m%d-%H%M%S"),
        config.model_dump(mode="json"),
        overrides,
    )
    try:
        artifacts = _run_stages(config, plan, wanted, cache, report, store, name)
    except BaseException as error:
        with contextlib.suppress(PipelineError):  # no room; the next run will see it
            stopped = isinstance(error, KeyboardInterrupt)
            why = "interrupted" if stopped else str(error) or type(error).__name__
            store.end_run(name, why)
        raise
    if "model" in artifacts:
        curves.link(config, overrides, name, artifacts["model"])
    store.end_run(name)
    return artifacts


def _plan(
    config: Config, only: Sequence[str], until: str | None
) -> tuple[list[Stage], set[str]]:
    """The stages to go through, and the components of those to run."""
    plan = stages(config)
    known = [stage.component for stage in plan]
    wanted = {_component(name, known) for name in only} or set(known)
    last = _component(until, known) if until else known[-1]
    if only:
        last = max(wanted, key=known.index)
    return plan[: known.index(last) + 1], wanted


def _run_stages(
    config: Config,
    plan: Sequence[Stage],
    wanted: set[str],
    cache: bool,
    report: Callable[[str], None],
    store: Metadata,
    name: str,
) -> dict[str, Path]:
    workspace = Path(config.workspace)
    artifacts: dict[str, Artifact] = {}
    checked = False
    for stage in plan:
        inputs = _inputs(stage, artifacts, store)
        key = fingerprint(
            (stage.module, *stage.code),
            stage.depends(config),
            [f"{artifact.name}/{artifact.path.name}" for artifact in inputs],
        )
        found = None
        if cache or stage.component not in wanted:
            found = _find(stage, key, store, config)
        if found:
            how = f"{'cached':>10}"
        elif stage.component in wanted:
            if not checked:  # before hours of work, not after
                _check(config, [stage for stage in plan if stage.component in wanted])
                checked = True
            found = execute(stage, config, inputs, key, name, store, workspace)
            how = f"{found[0].seconds:8.1f} s"
        else:
            need = "need" if len(wanted) > 1 else "needs"
            raise PipelineError(
                f"{' and '.join(sorted(wanted))} {need} what {stage.component} "
                f"writes, and it has not run with this config"
                f"{_newer(stage, inputs, store)}. Run the pipeline without `only`, or "
                f"with --only {stage.component} first."
            )
        execution, outputs = found
        if stage.component == "ExampleGen":
            _check_examples(config, outputs[0].path)
        store.use(name, execution.id)
        artifacts.update({artifact.name: artifact for artifact in outputs})
        rows = execution.summary.get("rows")
        size = f"{rows:>12,} rows" if rows is not None else " " * 17
        report(f"{stage.component:<17}{size} {how}  {mirror.shown(outputs[0].path)}")
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


def _check_examples(config: Config, path: Path) -> None:
    """Raises a PipelineError for columns that the examples lack."""
    from pipeline.artifacts import examples  # late, for it imports Arrow

    examples.check_columns(config, path)


def _component(name: str, known: list[str]) -> str:
    """Returns a component's name for a name in any spelling: transform, example_gen."""
    for component in known:
        if component.lower() == name.replace("_", "").replace("-", "").lower():
            return component
    raise PipelineError(
        f"There is no component {name!r}.{nearest(name, known)} Known: "
        f"{', '.join(known)}."
    )


def _inputs(
    stage: Stage, artifacts: dict[str, Artifact], store: Metadata
) -> list[Artifact]:
    inputs = [artifacts[n] for n in stage.inputs if n != "previous_statistics"]
    if "previous_statistics" in stage.inputs:
        for execution in store.executions("StatisticsGen", state="complete"):
            previous = store.outputs(execution.id)[0]
            older = previous.id < artifacts["statistics"].id
            if older and mirror.present(previous.path):
                mirror.pull(previous.path)
                inputs.append(
                    Artifact(previous.id, "previous_statistics", previous.path)
                )
                break
    return inputs


def _newer(stage: Stage, inputs: Sequence[Artifact], store: Metadata) -> str:
    """Which of a stage's inputs are not those that it has last read; "" if none."""
    for execution in store.executions(stage.component, state="complete"):
        read = {artifact.path for artifact in store.inputs(execution.id)}
        newer = [a.name for a in inputs if a.path not in read]
        return f" on {' and '.join(newer)} that were made anew" if newer else ""
    return ""


def _find(
    stage: Stage, key: str, store: Metadata, config: Config
) -> tuple[Execution, list[Artifact]] | None:
    found = store.find(stage.component, key)
    for artifact in found[1] if found else ():
        mirror.pull(artifact.path)
    if found and stage.holds(config, {a.name: a.path for a in found[1]}):
        return found
    return None
