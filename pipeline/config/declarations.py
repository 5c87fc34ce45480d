"""A config's features and tasks as the library declares them, held to its rules."""

import contextlib
from collections.abc import Iterator, Mapping

import tfmtl
from pipeline.config.features import Feature
from pipeline.config.schema import Config
from pipeline.errors import ConfigError
from tfmtl.features import check_domain, check_features
from tfmtl.tasks import check_tasks

# What is not known before Transform.
_PLACEHOLDERS = {"size": 2, "boundaries": (0.0, 1.0)}


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
            tasks.append(tfmtl.Task(**task.model_dump()))
    return features, tasks


def _feature(feature: Feature, made: Mapping):
    if feature.kind == "sequence":
        return tfmtl.Sequence(
            **feature.model_dump(exclude={"kind", "separator", "column"})
        )
    dim = feature.embedding_dim
    if feature.kind == "numeric" and feature.piecewise_linear:
        return tfmtl.Numeric(feature.name, tuple(made["boundaries"]), dim)
    if feature.kind == "numeric" and not feature.buckets:
        return tfmtl.Numeric(feature.name)
    table = _table(feature, made["size"])
    return tfmtl.Categorical(feature.name, embedding_dim=dim, **table)


def _table(feature: Feature, size: int) -> dict:
    """Returns the arguments of `tfmtl.Categorical` that say what its table is."""
    if feature.kind == "numeric":
        return {"vocabulary_size": size}
    if feature.capacity:
        own = ("min_score", "decay", "pass_steps", "table")
        sizes = {"capacity": size - 1}
    elif feature.num_hashes > 1:
        own, sizes = ("num_hashes", "table"), {"num_buckets": size}
    else:
        own, sizes = ("oov_buckets", "table"), {"vocabulary_size": size}
    return sizes | {key: getattr(feature, key) for key in own}
