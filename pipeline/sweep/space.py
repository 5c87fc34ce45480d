"""What a sweep trains: architectures, and the points of the search space."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipeline.config import Config, ConfigError
from pipeline.config.load import override
from pipeline.config.sweep import Range, Sweep
from pipeline.fingerprint import digest
from pipeline.stages import stages


class Architecture(NamedTuple):
    """An architecture of a sweep.

    Attributes:
        name: As in `tfmtl.models`.
        options: `model.options`.
        label: Tells it from the others of the sweep.
    """

    name: str
    options: dict[str, Any]
    label: str

    @property
    def file_name(self) -> str:
        """The label as a part of names of files and runs."""
        of_options = f"-{digest(self.options)[:6]}" if " " in self.label else ""
        return f"{self.name}{of_options}"


def architectures(config: Config, known: list[str]) -> list[Architecture]:
    """The architectures of a sweep.

    Args:
        config: With a section `sweep`.
        known: The names of all architectures.

    Raises:
        ConfigError: One is not known, or given twice.
    """
    own, wanted = config.model, config.sweep.architectures
    if wanted is None:
        named = [(own.architecture, own.options)]
    elif wanted == "all":
        named = [(name, {}) for name in known]
    else:
        named = [(item.name, item.options) for item in wanted]
    found: list[Architecture] = []
    for i, (name, options) in enumerate(named):
        if name not in known and ":" not in name:  # module:Class of the user's own
            raise ConfigError(
                f"sweep.architectures.{i}: must be one of {', '.join(known)}. "
                f"Received: {name!r}"
            )
        label = name
        if options and sum(other == name for other, _ in named) > 1:
            label += f" {json.dumps(options, sort_keys=True)}"
        if not options:
            is_own = name == own.architecture
            beside = own.options if is_own else own.options.get(name)
            options = beside if isinstance(beside, dict) else {}
        if label in [other.label for other in found]:
            raise ConfigError(f"sweep.architectures.{i}: {label!r} is given twice")
        found.append(Architecture(name, dict(options), label))
    return found


def overrides(
    architecture: Architecture, point: Mapping[str, Any], seed: int
) -> list[str]:
    """What `--set` changes in the config for one training."""
    values = {
        "model.architecture": architecture.name,
        "model.options": architecture.options,
        **point,
        "train.seed": seed,
    }
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def config_of(config: Config, changes: list[str]) -> Config:
    """The config of one training."""
    raw = config.model_dump(mode="json", exclude={"sweep"})
    for change in changes:
        override(raw, change)
    return Config.model_validate(raw)


def suggest(sweep: Sweep, trial: Any) -> dict[str, Any]:
    """The point of the search space that Optuna suggests for a trial: {key: value}."""
    point = {}
    for key, values in sweep.space.items():
        if isinstance(values, list):
            # Optuna's choices are plain values; ours may be lists and mappings.
            texts = [json.dumps(value) for value in values]
            point[key] = json.loads(trial.suggest_categorical(key, texts))
        else:
            point[key] = _number(values, key, trial)
    return point


def _number(values: Range, key: str, trial: Any) -> int | float:
    numbers = [values.low, values.high, values.step or 1]
    if all(isinstance(number, int) for number in numbers):
        return trial.suggest_int(key, *numbers, log=values.log)
    return trial.suggest_float(
        key, values.low, values.high, step=values.step, log=values.log
    )


def first(sweep: Sweep) -> dict[str, Any]:
    """A point of the search space: the first value, or the lowest, of each key."""
    return {
        key: values[0] if isinstance(values, list) else values.low
        for key, values in sweep.space.items()
    }


def check(config: Config) -> None:
    """Raises a ConfigError for a key that cannot be swept."""
    base, lowest = config_of(config, []), first(config.sweep)
    for key, values in config.sweep.space.items():
        last = values[-1] if isinstance(values, list) else values.high
        if key in ("model.architecture", "train.seed"):
            raise ConfigError(
                f"sweep.space.{key}: it has a place of its own, sweep."
                f"{'seeds' if key == 'train.seed' else 'architectures'}"
            )
        for value in (lowest[key], last):
            try:
                changed = config_of(config, [f"{key}={json.dumps(value)}"])
            except (ConfigError, ValueError) as error:
                reason = str(error).replace("\n", " ")
                raise ConfigError(f"sweep.space.{key}: {reason}") from error
            if other := _stage_that_differs(base, changed):
                raise ConfigError(
                    f"sweep.space.{key}: only what the training depends on can be "
                    f"swept, for all share the data. {other} depends on it. Make a "
                    "config for each value"
                )


def _stage_that_differs(base: Config, changed: Config) -> str | None:
    for stage, other in zip(stages(base), stages(changed), strict=True):
        if stage.component == "Trainer":
            return None
        depends: Callable[[Config], Any] = stage.depends
        if depends(base) != other.depends(changed):
            return stage.component
    return None
