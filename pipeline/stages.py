"""The stages of the pipeline, in order: what each reads, writes and depends on."""

import dataclasses
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts import layout, pushed, saved_model
from pipeline.components.evaluator import others
from pipeline.config import Config
from pipeline.storage import mirror
from serving.release.rollbacks import identity


@dataclasses.dataclass(frozen=True)
class Stage:
    """One component, as the pipeline runs it.

    Args:
        component: Its name, as in TFX.
        inputs: Artifacts it reads, by name.
        outputs: Artifacts it writes, by name.
        depends: The part of the config that its outputs depend on; anything that JSON
            can hold.
        code: Further modules that its outputs depend on.
        scratch: Directories that outlive a killed execution, for checkpoints.
        holds: (config, outputs) -> whether artifacts from an earlier execution still
            count, where that depends on more than what the stage reads.
    """

    component: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    depends: Callable[[Config], Any]
    code: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    holds: Callable[[Config, Mapping[str, Path]], bool] = lambda config, outputs: True

    @property
    def module(self) -> str:
        """The module with the component's function."""
        found = f"pipeline.components.{self.name}"
        is_package = importlib.util.find_spec(found).submodule_search_locations
        return f"{found}.component" if is_package else found

    @property
    def name(self) -> str:
        """The function's name, such as example_gen."""
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in self.component)
        return snake.lstrip("_")

    def function(self) -> Callable[..., dict]:
        """Returns the function (config, inputs, outputs) -> summary.

        Imported late, so that the command line answers before TensorFlow is loaded.
        """
        return getattr(importlib.import_module(self.module), self.name)

    def check(self, config: Config) -> None:
        """Raises a ConfigError for what only the component's own code can tell."""
        check = getattr(importlib.import_module(self.module), "check", None)
        if check:
            check(config)


def _features(config: Config) -> list[dict]:
    """The features, as far as the data depend on them."""
    of_the_model = {"embedding_dim", "pooling", "target"}
    of_the_model |= {"min_score", "decay", "pass_steps", "ttl"}
    return [f.model_dump(exclude=of_the_model) for f in config.features]


def _labels(config: Config) -> list[dict]:
    """The tasks, as far as the data depend on them."""
    wanted = {"name", "label", "kind", "space", "row_weight", "duration", "elapsed"}
    return [task.model_dump(include=wanted) for task in config.tasks]


def _files(config: Config, patterns: list[str]) -> list:
    """The user's own log files, with what shows that one has changed."""
    # Imported late: the command line answers before Beam is loaded.
    from pipeline.workspace import content

    return content.of_files(patterns, Path(config.workspace)) if patterns else []


def _templates() -> str:
    """What the pages look like, beside their code."""
    from pipeline.report import page

    return page.templates()


def _is_served(config: Config, outputs: Mapping[str, Path]) -> bool:
    """Whether what was pushed is the version that is served now."""
    path = pushed.read(outputs["pushed_model"])
    return path is None or path == saved_model.served(Path(config.push.destination))


def _is_compared(config: Config, outputs: Mapping[str, Path]) -> bool:
    """Whether the model served now is the baseline, or the model evaluated itself."""
    if config.evaluate.baseline != others.SERVED:
        return True
    measured = json.loads((outputs["evaluation"] / layout.METRICS).read_text())
    served = saved_model.served(Path(config.push.destination))
    return served is None or identity(served) in measured["compared"]


def _others(config: Config) -> dict[str, str]:
    """The models of other runs that the model is compared with."""
    found = others.models(config)
    if config.evaluate.baseline == others.SERVED:
        found.pop("baseline", None)
    return {name: mirror.shown(path) for name, path in found.items()}


def _own_architecture(config: Config) -> tuple[str, ...]:
    """The module of an architecture that the user has written."""
    module, is_own, _ = config.model.architecture.partition(":")
    return (module,) if is_own else ()


def stages(config: Config) -> list[Stage]:
    """Returns the stages of a config, in the order in which they run."""
    own_logs = config.data.source is None
    log_source = Stage(
        "LogSource",
        inputs=(),
        outputs=("logs",),
        depends=lambda c: [c.data.source, c.data.options],
        code=(f"pipeline.datasets.{config.data.source}",),
    )
    return ([] if own_logs else [log_source]) + [
        Stage(
            "ExampleGen",
            inputs=() if own_logs else ("logs",),
            outputs=("examples",),
            depends=lambda c: [
                c.data.model_dump(),
                _features(c),
                # Slice columns are kept as they are, whether named or not.
                [column for column in c.columns() if column[2] != "any"],
                _files(c, c.data.patterns()),
            ],
        ),
        Stage(
            "StatisticsGen",
            inputs=("examples",),
            outputs=("statistics",),
            depends=lambda c: [_features(c), _labels(c), c.domain],
        ),
        Stage(
            "SchemaGen",
            inputs=("statistics",),
            outputs=("schema",),
            depends=lambda c: [_features(c), _labels(c), [t.classes for t in c.tasks]],
        ),
        Stage(
            "ExampleValidator",
            inputs=("statistics", "schema", "previous_statistics"),
            outputs=("anomalies",),
            depends=lambda c: [
                _features(c),
                _labels(c),
                c.validation.model_dump(),
                _files(c, c.validation.served),
                c.name,
                _templates(),
            ],
        ),
        Stage(
            "Transform",
            inputs=("examples", "statistics", "schema"),
            outputs=("transform_graph", "transformed_examples"),
            depends=lambda c: [
                _features(c),
                _labels(c),
                c.transform.model_dump(),
                c.train.model_dump(include={"warm_start"}),
                [[t.quantile_group, t.quantile_intervals] for t in c.tasks],
            ],
        ),
        Stage(
            "Trainer",
            inputs=("statistics", "transform_graph", "transformed_examples"),
            outputs=("model",),
            depends=lambda c: [
                [f.model_dump() for f in c.features],
                [task.model_dump() for task in c.tasks],
                c.domain,
                c.model.model_dump(),
                c.train.model_dump(),
                c.export.model_dump(),
            ],
            code=_own_architecture(config),
            scratch=("checkpoints",),
        ),
        Stage(
            "Evaluator",
            inputs=("examples", "model"),
            outputs=("evaluation", "blessing"),
            depends=lambda c: [
                _labels(c),
                c.domain,
                c.evaluate.model_dump(),
                mirror.shown(c.push.destination),
                _others(c),
            ],
            holds=_is_compared,
        ),
        Stage(
            "InfraValidator",
            inputs=("examples", "transformed_examples", "transform_graph", "model"),
            outputs=("infra_blessing",),
            depends=lambda c: [_features(c), _labels(c), c.infra.model_dump()],
        ),
        Stage(
            "Reporter",
            inputs=("anomalies", "model", "evaluation", "blessing", "infra_blessing"),
            outputs=("report",),
            depends=lambda c: _templates(),
        ),
        Stage(
            "Pusher",
            inputs=("model", "evaluation", "blessing", "infra_blessing"),
            outputs=("pushed_model",),
            depends=lambda c: c.push.model_dump(),
            holds=_is_served,
        ),
    ]
