"""A config's features and tasks as the library declares them, held to its rules."""

import contextlib
from collections.abc import Iterator, Mapping

import tfmtl
from pipeline.config.features import Feature
from pipeline.config.schema import Config
from pipeline.errors import ConfigError
from tfmtl.features import check_domain, check_features
from tfmtl.tasks import check_tasks


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
        sizes: What Transform wrote into features.json: each feature's table size.
            Defaults to tables of two rows.

    Raises:
        ConfigError: If the library refuses one.
    """
    features, tasks = [], []
    for i, feature in enumerate(config.features):
        with faults_of(f"features.{i}"):
            size = sizes[feature.name].get("size") if sizes else 2
            features.append(_feature(feature, size))
    for i, task in enumerate(config.tasks):
        with faults_of(f"tasks.{i}"):
            tasks.append(tfmtl.Task(**task.model_dump()))
    return features, tasks


def _feature(feature: Feature, size: int | None):
    if feature.kind == "sequence":
        return tfmtl.Sequence(**feature.model_dump(exclude={"kind", "separator"}))
    if feature.kind == "numeric" and not feature.buckets:
        return tfmtl.Numeric(feature.name)
    dim = feature.embedding_dim
    return tfmtl.Categorical(feature.name, embedding_dim=dim, **_table(feature, size))


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
