"""A config's features and tasks as the library declares them, held to its rules."""

from collections.abc import Mapping

import tfmtl
from pipeline.config.features import Feature
from pipeline.config.schema import Config
from pipeline.errors import ConfigError
from tfmtl.tasks import check_tasks


def check(config: Config) -> None:
    """Raises a ConfigError for tasks that cannot be learnt, or not together.

    Not when a config is loaded, as TensorFlow takes seconds to import.
    """
    _, tasks = declare(config)
    try:
        check_tasks(tasks)
    except ValueError as error:
        raise ConfigError(f"tasks: {error}") from error


def declare(
    config: Config, sizes: Mapping[str, Mapping] | None = None
) -> tuple[list, list]:
    """Returns the features and tasks as the library declares them.

    Args:
        config: The pipeline.
        sizes: What Transform wrote into features.json: each feature's table size.
            Defaults to tables of two rows.

    Raises:
        ConfigError: If the library refuses a task.
    """
    features = []
    for feature in config.features:
        if feature.kind == "sequence":
            options = feature.model_dump(exclude={"kind", "separator"})
            features.append(tfmtl.Sequence(**options))
        elif feature.kind == "numeric" and not feature.buckets:
            features.append(tfmtl.Numeric(feature.name))
        else:
            table = _table(feature, sizes[feature.name]["size"] if sizes else 2)
            dim = feature.embedding_dim
            features.append(tfmtl.Categorical(feature.name, embedding_dim=dim, **table))
    tasks = []
    for i, task in enumerate(config.tasks):
        try:
            tasks.append(tfmtl.Task(**task.model_dump()))
        except ValueError as error:
            raise ConfigError(f"tasks.{i}: {error}") from error
    return features, tasks


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
