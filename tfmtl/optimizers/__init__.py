"""Row-sparse optimizers: a step costs what the batch touches, not what tables hold."""

import inspect
from collections.abc import Mapping

import keras

from tfmtl import _errors
from tfmtl.optimizers.adagrad import RowwiseAdagrad, SparseAdagrad
from tfmtl.optimizers.adam import LazyAdam
from tfmtl.optimizers.ftrl import SparseFtrl
from tfmtl.optimizers.loss_scale import LossScale
from tfmtl.optimizers.presets import pepnet_offline, pepnet_online, split
from tfmtl.optimizers.schedules import WarmUp, scheduled
from tfmtl.optimizers.sgd import SparseSGD

_REGISTRY = {
    "lazy_adam": LazyAdam,
    "sparse_adagrad": SparseAdagrad,
    "rowwise_adagrad": RowwiseAdagrad,
    "sparse_sgd": SparseSGD,
    "sparse_ftrl": SparseFtrl,
    "split": split,
    "pepnet_online": pepnet_online,
    "pepnet_offline": pepnet_offline,
    "adam": keras.optimizers.Adam,
    "adagrad": keras.optimizers.Adagrad,
    "sgd": keras.optimizers.SGD,
    "ftrl": keras.optimizers.Ftrl,
}

__all__ = [
    "LazyAdam",
    "LossScale",
    "RowwiseAdagrad",
    "SparseAdagrad",
    "SparseFtrl",
    "SparseSGD",
    "WarmUp",
    "get",
    "names",
    "pepnet_offline",
    "pepnet_online",
    "scheduled",
    "split",
]


def names() -> list[str]:
    """Returns the names of all optimizers that `get` knows."""
    return list(_REGISTRY)


def get(name: str, **options) -> keras.optimizers.Optimizer:
    """Returns an optimizer by its name.

    Args:
        name: String. One of `names()`.
        **options: Its arguments, such as `learning_rate`. The parts of "split" may be
            names too, or {"name": ..., options}.

    Raises:
        ValueError: If there is no such optimizer, or it has no such option.

    Example:
    >>> get("lazy_adam", learning_rate=0.01).beta_1
    0.9
    """
    _errors.check_choice("optimizer", name, _REGISTRY)
    known = inspect.signature(_REGISTRY[name]).parameters
    if not known and options:
        raise ValueError(
            f"The optimizer {name} has no options. Received: {', '.join(options)}."
        )
    if name == "split":
        if set(options) != set(known):
            raise ValueError(
                "split needs an optimizer for `tables` and one for `dense`, each with "
                "its own learning_rate, and nothing else. Received: "
                f"{', '.join(options) or 'nothing'}."
            )
        options = {part: _part(given) for part, given in options.items()}
    return _REGISTRY[name](**options)


def _part(given):
    """Returns an optimizer that may be given by its name, or with options beside it."""
    if isinstance(given, str):
        return get(given)
    return get(**given) if isinstance(given, Mapping) else given
