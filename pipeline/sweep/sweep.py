"""The sweep: trains what its section says, and measures the best on the test split.

The data stages run once; every training reads what they wrote, and is found in the
cache of the same workspace like that of any run. What a sweep keeps besides, its trials
and the leaderboard, lies in WORKSPACE/sweeps/KEY; the key is made of the data, the
config, the code and the search space. Architectures and trials may be added to a sweep,
anything else begins a new one.

Models are chosen by `train.monitor` on the validation split alone. Of each architecture
the best is measured on the test split, once, when all trials are done.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import progress
from pipeline.artifacts import json_file, layout
from pipeline.beam.atomic import atomic_write
from pipeline.comparison import compare
from pipeline.config import Config, ConfigError
from pipeline.fingerprint import fingerprint
from pipeline.report import leaderboard as page
from pipeline.run import run_held
from pipeline.stages import Stage, stages
from pipeline.storage import mirror
from pipeline.sweep import leaderboard, processes, space
from pipeline.sweep.space import Architecture
from pipeline.sweep.study import Study, Trial, open_studies, unfinished
from pipeline.sweep.trial import COMPONENT
from pipeline.workspace import lock as workspaces


def sweep(
    config: Config,
    jobs: int = 1,
    memory: int | None = None,
    report: Callable[[str], None] = progress.write,
) -> dict[str, Any]:
    """Trains all models of a sweep; goes on where an earlier call was killed.

    A training that fails, of NaN or its memory, ends no sweep; the next call tries it
    again.

    Args:
        config: With a section `sweep`.
        jobs: Trainings at a time.
        memory: Bytes that each may take. Defaults to no limit.
        report: Takes one line a stage and a training.

    Returns:
        What leaderboard.json has; see `leaderboard.of`.

    Raises:
        PipelineError: The section is missing or wrong, a data stage has failed, or
            there is no model at all.
    """
    if config.sweep is None:
        raise ConfigError("sweep: give the section, or a file of its own by --sweep")
    import tfmtl  # here, as it loads TensorFlow
    from pipeline.config.declarations import faults_of

    architectures = space.architectures(config, tfmtl.models.names())
    space.check(config)
    _check(config, architectures)
    mode = config.train.mode
    if mode is None:
        with faults_of("train.mode"):
            mode = tfmtl.training.better(config.train.monitor)
    if mode == "one":
        raise ConfigError(
            "train.monitor: a sweep selects by a metric of which less, or more, is "
            f"better. Received: {config.train.monitor!r}"
        )
    workspace = Path(config.workspace)
    with workspaces.held(workspace) as lock:
        workspaces.clear(workspace)
        data = run_held(space.config_of(config, []), until="Transform", report=report)
        key = _key(config, data)
        folder = workspace / layout.SWEEPS / key
        (folder / "trainings").mkdir(parents=True, exist_ok=True)
        studies = open_studies(
            folder / layout.STUDY, architectures, config.sweep, mode == "min"
        )
        left = sum(study.left for study in studies)
        trainings = processes.run(
            _jobs(config, key, studies), folder / "trainings", jobs, memory, lock
        )
        with (
            progress.showing("sweep"),
            progress.counting(left, folder, unit=f"of {left} trainings") as done,
            contextlib.closing(trainings),  # none goes on where this does not
        ):
            for (trial, seed), answer in trainings:
                trial.record(seed, answer)
                done.add(1)
                report(_line(trial, seed, answer))
        trials = [trial for study in studies for trial in study.trials]
        board = leaderboard.of(config, trials, minimize=mode == "min")
        with progress.showing("sweep, the test split"):
            _measure(config, data["examples"], board, folder)
        with atomic_write(folder / layout.LEADERBOARD) as part:
            json_file.write(part, board)
        with atomic_write(folder / layout.REPORT) as part:
            part.write_text(page.of_sweep(board))
        mirror.give(folder, [layout.LEADERBOARD, layout.REPORT])
    report(f"leaderboard: {folder / layout.LEADERBOARD}")
    report(f"report: {folder / layout.REPORT}")
    return board


def _check(config: Config, architectures: Iterable[Architecture]) -> None:
    """Raises a ConfigError for a model that cannot be built, before hours of work.

    Of "all" architectures, those that do not fit the tasks fail as trainings do.
    """
    if config.sweep.architectures == "all":
        return
    stage = _trainer(config)
    point = space.first(config.sweep)
    for architecture in architectures:
        changes = space.overrides(architecture, point, config.sweep.seeds[0])
        try:
            stage.check(space.config_of(config, changes))
        except ConfigError as error:
            raise ConfigError(
                f"sweep.architectures: {architecture.label}: {error}"
            ) from error


def _trainer(config: Config) -> Stage:
    return next(stage for stage in stages(config) if stage.component == COMPONENT)


def _key(config: Config, data: Mapping[str, Path]) -> str:
    """What trials have in common that belong to one sweep."""
    trainer = _trainer(config)
    searched = config.sweep.model_dump(mode="json", include={"seeds", "space"})
    return fingerprint(
        (trainer.module,),
        [trainer.depends(space.config_of(config, [])), searched],
        [f"{name}/{data[name].name}" for name in trainer.inputs],
    )[:12]


def _jobs(config: Config, key: str, studies: list[Study]) -> Iterator[processes.Job]:
    told = {"config": config.model_dump(mode="json")}
    for trial in unfinished(studies):
        for seed in trial.missing:
            name = f"{trial.architecture.file_name}-{trial.number}-{seed}"
            changes = space.overrides(trial.architecture, trial.point, seed)
            run = {"overrides": changes, "run": f"sweep-{key}/{name}"}
            yield processes.Job((trial, seed), name, told | run)


def _line(trial: Trial, seed: int, answer: Mapping[str, Any]) -> str:
    point = "".join(f" {k}={json.dumps(v)}" for k, v in trial.point.items())
    name = f"{trial.architecture.label} {trial.number} seed {seed}{point}"
    if "error" in answer:
        return f"{name}: failed: {answer['error']}"
    return f"{name}: {answer['value']:.4f} in {answer['seconds']:.1f} s"


def _here(model: str) -> Path:
    """The folder of a model, copied from its store if it has left the mirror."""
    path = Path(model)
    return mirror.pull(path) if mirror.present(path) else path


def _measure(
    config: Config, examples: Path, board: dict[str, Any], folder: Path
) -> None:
    """Measures the chosen models on the test split.

    Adds to each "test", see `leaderboard.of_test`, and "deleted", the seeds of which
    `gc` has deleted the model meanwhile: what was measured before stands.
    """
    chosen: list[dict] = [m for m in board["models"] if m["chosen"]]
    before = _measured_before(folder / layout.LEADERBOARD)
    models, names = {}, {}
    for model in chosen:
        found = {s: _here(m) / layout.SERVING_MODEL for s, m in model["models"].items()}
        model["deleted"] = [seed for seed, path in found.items() if not path.is_dir()]
        there = {f"{model['name']} seed {s}": p for s, p in found.items() if p.is_dir()}
        names[model["name"]] = list(there)
        models |= there
    records = []
    if models:
        with tempfile.TemporaryDirectory(prefix=".test-", dir=folder) as work:
            records = compare.measure(config, examples, models, Path(work))
    by_rows = len(board["seeds"]) == 1 and not chosen[0]["deleted"]
    for model in chosen:
        if model["deleted"] and model["name"] in before:
            model["test"] = before[model["name"]]
        else:
            of_seeds = names[model["name"]]
            model["test"] = leaderboard.of_test(records, of_seeds, by_rows)
    leaderboard.compare_with_first(chosen)


def _measured_before(file: Path) -> dict[str, dict]:
    """{model: "test"} of an earlier leaderboard; of single seeds without gains.

    Those were over what was the first then.
    """
    if not file.is_file():
        return {}
    found = {
        model["name"]: model["test"]
        for model in json.loads(file.read_text())["models"]
        if "test" in model
    }
    for test in found.values():
        for of_task in test.values():
            of_task["gain"] = None
    return found
