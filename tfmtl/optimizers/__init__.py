"""Row-sparse optimizers: a step costs what the batch touches, not what tables hold."""

import inspect

import keras

from tfmtl import _errors
from tfmtl.optimizers.adagrad import RowwiseAdagrad, SparseAdagrad
from tfmtl.optimizers.adam import LazyAdam
from tfmtl.optimizers.loss_scale import LossScale
from tfmtl.optimizers.presets import pepnet_offline, pepnet_online, split
from tfmtl.optimizers.sgd import SparseSGD

_REGISTRY = {
    "lazy_adam": LazyAdam,
    "sparse_adagrad": SparseAdagrad,
    "rowwise_adagrad": RowwiseAdagrad,
    "sparse_sgd": SparseSGD,
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
    "SparseSGD",
    "get",
    "names",
    "pepnet_offline",
    "pepnet_online",
    "split",
]


def names() -> list[str]:
    """Returns the names of all optimizers that `get` knows."""
    return list(_REGISTRY)


def get(name: str, **options) -> keras.optimizers.Optimizer:
    """Returns an optimizer by its name.

    Args:
        name: String. One of `names()`.
        **options: Its arguments, such as `learning_rate`.

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
    return _REGISTRY[name](**options)
