"""A config's features and tasks as the library declares them, held to its rules."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import tfmtl
from pipeline.config.features import Feature, weights_name
from pipeline.config.schema import Config
from pipeline.config.sections import Model, Task
from pipeline.errors import ConfigError, nearest
from tfmtl.features import check_domain, check_features
from tfmtl.tasks import check_loss_groups, check_tasks

# What is not known before Transform.
_PLACEHOLDERS = {"size": 2, "boundaries": (0.0, 1.0)}
_LEVELS = ((0.0, 1.0), (0.0, 1.0))  # of the loss d2q, for tables of that size


def check(config: Config) -> None:
    """Raises a ConfigError for what cannot be learnt, be it together.

    Not when a config is loaded, as TensorFlow takes seconds to import.
    """
    features, tasks = declare(config)
    with faults_of("features"):
        check_features(features)
    with faults_of("domain"):
        check_domain(features, config.domain)
    with faults_of("tasks"):
        check_tasks(tasks)
        check_loss_groups(tasks, features)


@contextlib.contextmanager
def faults_of(key: str) -> Iterator[None]:
    """What the library says of its arguments becomes an error of the config's key."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def declare(
    config: Config, sizes: Mapping[str, Mapping] | None = None
) -> tuple[list, list]:
    """Returns the features and tasks as the library declares them.

    Args:
        config: The pipeline.
        sizes: What Transform wrote into features.json: each feature's table size, or
            its boundaries. Defaults to tables of two rows and to one bin.

    Raises:
        ConfigError: If the library refuses one.
    """
    features, tasks = [], []
    for i, feature in enumerate(config.features):
        with faults_of(f"features.{i}"):
            made = sizes[feature.name] if sizes else _PLACEHOLDERS
            features.append(_feature(feature, made))
    for i, task in enumerate(config.tasks):
        with faults_of(f"tasks.{i}"):
            tasks.append(_task(task, sizes))
    return features, tasks


def _task(task: Task, sizes: Mapping[str, Mapping] | None) -> tfmtl.Task:
    given = task.model_dump()
    if task.is_of_quantiles:
        losses = given["loss"] if isinstance(given["loss"], list) else [given["loss"]]
        first = {k: v for k, v in losses[0].items() if k != "intervals"}
        made = sizes[task.quantile_group]["levels"] if sizes else {}
        first["levels"] = made.get(task.name, _LEVELS)
        given["loss"] = [first, *losses[1:]]
    return tfmtl.Task(**given)


def options_of(model: Model, architecture: str) -> dict[str, Any]:
    """Returns the options of an architecture: those of all, and those under its name.

    Args:
        model: The section `model`. A key of its options that is the name of an
            architecture holds that one's options. `epnet` and `ppnet` are options of
            those that take them.
        architecture: Its name, as for `tfmtl.models.get`.

    Raises:
        ConfigError: Below the name of an architecture is what it does not take, or
            there is none of such a name.

    Example:
    >>> model = Model(options={"dropout": 0.1, "ple": {"shared_experts": 2}})
    >>> options_of(model, "ple"), options_of(model, "mmoe")
    ({'dropout': 0.1, 'shared_experts': 2}, {'dropout': 0.1})
    """
    takes, names = tfmtl.models.options(architecture), tfmtl.models.names()
    found, own = {}, {}
    for key, value in model.options.items():
        is_architecture = key in names or ":" in key  # one's own: module:Class
        if key in takes or not is_architecture:
            found[key] = value
            continue
        if not isinstance(value, dict):
            raise ConfigError(
                f"model.options.{key}: it is an architecture, and takes a mapping of "
                f"its options. Received: {value!r}"
            )
        with faults_of("model.options"):
            known = tfmtl.models.options(key)
        for option in value:
            if option not in known:
                raise ConfigError(
                    f"model.options.{key}: there is no option {option!r}."
                    f"{nearest(str(option), known)} Known: {', '.join(known)}"
                )
        if key == architecture:
            own = value
    return found | own


def _feature(feature: Feature, made: Mapping):
    if feature.kind == "sequence":
        own = feature.model_dump(exclude={"kind", "separator", "column"})
        sequence = tfmtl.Sequence(**own)
        name, options = sequence.encoding
        tfmtl.layers.sequence_encoder(name, **options)  # refuses what it does not take
        return sequence
    if feature.kind == "numeric_sequence":
        own = feature.model_dump(include={"name", "side_of", "max_length"})
        if feature.piecewise_linear:
            own["embedding_dim"] = feature.embedding_dim
            own["boundaries"] = tuple(made["boundaries"])
        return tfmtl.NumericSequence(**own)
    if feature.kind == "lookup":
        return tfmtl.Numeric(feature.name)
    dim = feature.embedding_dim
    if feature.kind == "vector":
        return tfmtl.Vector(feature.name, feature.dim, dim)
    if feature.kind == "numeric" and feature.piecewise_linear:
        return tfmtl.Numeric(feature.name, tuple(made["boundaries"]), dim)
    if feature.kind == "numeric" and feature.autodis:
        return tfmtl.Numeric(feature.name, embedding_dim=dim, autodis=feature.autodis)
    if feature.kind == "numeric" and not feature.buckets:
        return tfmtl.Numeric(feature.name)
    table = _table(feature, made["size"])
    if feature.kind == "multivalued":
        own = feature.model_dump(include={"max_length", "pooling"})
        own["weights"] = weights_name(feature)
        return tfmtl.Multivalued(feature.name, embedding_dim=dim, **table, **own)
    return tfmtl.Categorical(feature.name, embedding_dim=dim, **table)


def _table(feature: Feature, size: int) -> dict:
    """Returns the arguments of `tfmtl.Categorical` that say what its table is."""
    if feature.kind in ("numeric", "crossed"):
        return {"vocabulary_size": size}
    if feature.capacity:
        own = ("min_score", "decay", "pass_steps", "ttl", "table")
        sizes = {"capacity": size - 1}
    elif feature.num_hashes > 1:
        own, sizes = ("num_hashes", "table"), {"num_buckets": size}
    else:
        own, sizes = ("oov_buckets", "table"), {"vocabulary_size": size}
    return sizes | {key: getattr(feature, key) for key in (*own, "sharded")}
