"""The trials of a sweep, in Optuna's storage: a SQLite file in the workspace.

Only the process of the sweep reads and writes it. A trial is there before its first
training starts, and has the results of its seeds with it; it stays "running" until all
of them are there. So whenever the sweep is killed, what is left running is run again,
without the seeds that are done, and no trial is counted twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from sqlalchemy.pool import NullPool

from pipeline.config.sweep import Sweep
from pipeline.sweep import space
from pipeline.sweep.space import Architecture

_STARTUP = 10  # random points before Optuna goes by what it has seen


class Trial:
    """A point of the search space with one architecture.

    Attributes:
        architecture: Which one.
        number: Of the trials with it, from 0.
        point: {key of the config: value}.
        results: {seed: what the training gave, or {"error": why there is nothing}}.
        value: The mean over the seeds of what is selected by; None until all are there.
    """

    def __init__(
        self, study: optuna.Study, architecture: Architecture, sweep: Sweep, trial: Any
    ) -> None:
        self._study, self._trial = study, trial
        self.architecture, self.number = architecture, trial.number
        self.point = space.suggest(sweep, trial)
        kept: Mapping[str, dict] = trial.user_attrs
        self.results = {s: kept[str(s)] for s in sweep.seeds if str(s) in kept}
        self._seeds = sweep.seeds
        self.value: float | None = None

    @property
    def missing(self) -> list[int]:
        """The seeds without a result."""
        return [s for s in self._seeds if "value" not in self.results.get(s, {})]

    def record(self, seed: int, result: Mapping[str, Any]) -> None:
        """Keeps a result; with the last of them, the trial is complete."""
        self._trial.set_user_attr(str(seed), dict(result))
        known = {**self.results, seed: dict(result)}
        self.results = {s: known[s] for s in self._seeds if s in known}
        self.complete()

    def complete(self) -> None:
        """Tells Optuna the value, if there is no seed without a result."""
        if not self.missing:
            values = [self.results[seed]["value"] for seed in self._seeds]
            self.value = float(np.mean(values))
            self._study.tell(self._trial, self.value)


class Study:
    """All trials of one architecture."""

    def __init__(
        self, storage: Any, architecture: Architecture, sweep: Sweep, minimize: bool
    ) -> None:
        self._architecture, self._sweep = architecture, sweep
        self._study = optuna.create_study(
            storage=storage,
            study_name=architecture.label,
            direction="minimize" if minimize else "maximize",
            load_if_exists=True,
        )
        self.trials = [self._known(t) for t in self._study.get_trials()]

    def _known(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        done = frozen.state == TrialState.COMPLETE
        trial = frozen if done else self._resumed(frozen)
        known = Trial(self._study, self._architecture, self._sweep, trial)
        if done:
            known.value = frozen.value
        else:  # killed between the last result and the value
            known.complete()
        return known

    def _resumed(self, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
        self._study.sampler = self._sampler(frozen.number)
        return optuna.Trial(self._study, frozen._trial_id)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        # Begun anew for each trial, as if the sweep had been killed before it: the
        # same points are tried whether it was or not.
        return optuna.samplers.TPESampler(seed=number, n_startup_trials=_STARTUP)

    @property
    def left(self) -> int:
        """How many trainings are to be run."""
        begun = sum(len(trial.missing) for trial in self.trials)
        return begun + self._new * len(self._sweep.seeds)

    @property
    def _new(self) -> int:
        """How many trials there are to be besides those that are there."""
        wanted = self._sweep.trials if self._sweep.space else 1
        return max(0, wanted - len(self.trials))

    def ask(self) -> Trial | None:
        """A new trial; None where there are enough."""
        if not self._new:
            return None
        self._study.sampler = self._sampler(len(self.trials))
        trial = self._study.ask()
        trial = Trial(self._study, self._architecture, self._sweep, trial)
        self.trials.append(trial)
        return trial


def open_studies(
    file: Path, architectures: Sequence[Architecture], sweep: Sweep, minimize: bool
) -> list[Study]:
    """Opens the studies of a sweep, or makes them.

    Args:
        file: The SQLite file.
        architectures: One study each.
        sweep: What is tried.
        minimize: Whether a lower value is better.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not file.exists():  # whole, or not there
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        _storage(new).engine.dispose()
        new.rename(file)
    storage = _storage(file)
    return [Study(storage, a, sweep, minimize) for a in architectures]


def _storage(file: Path) -> optuna.storages.RDBStorage:
    # No pool: a connection is closed after use, not whenever it is collected.
    return optuna.storages.RDBStorage(
        f"sqlite:///{file.absolute()}", engine_kwargs={"poolclass": NullPool}
    )


def unfinished(studies: Sequence[Study]) -> Iterator[Trial]:
    """Yields the trials to run: those left running, then new ones, each study in turn.

    A new one is made when it is asked for, so that it goes by those that are complete.
    """
    for study in studies:
        yield from [trial for trial in study.trials if trial.value is None]
    waiting = list(studies)
    while waiting:
        study = min(waiting, key=lambda study: len(study.trials))
        trial = study.ask()
        if trial is None:
            waiting.remove(study)
        else:
            yield trial
