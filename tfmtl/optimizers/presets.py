"""An optimizer for the tables beside another for the rest."""

import keras

from tfmtl.optimizers.adagrad import SparseAdagrad
from tfmtl.optimizers.adam import LazyAdam
from tfmtl.optimizers.dense_part import TABLE


def split(tables, dense) -> keras.optimizers.Optimizer:
    """Returns an optimizer that updates tables by one optimizer, the rest by another.

    Args:
        tables: Optimizer of the embedding tables, the variables named "table_WIDTH" or
            "embeddings".
        dense: Optimizer of all other variables.

    Returns:
        A `keras.optimizers.MultiOptimizer`.

    Raises:
        ValueError: If Keras has none, as the last version for Python 3.10 has.

    Example:
    >>> if hasattr(keras.optimizers, "MultiOptimizer"):
    ...     optimizer = split(SparseAdagrad(0.05), keras.optimizers.Adam(1e-3))
    """
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        raise ValueError(
            "Two optimizers in one need keras.optimizers.MultiOptimizer. Received: "
            f"Keras {keras.__version__}, which lacks it. Install a newer Keras, which "
            "needs Python 3.11 or later, or take one optimizer, such as LazyAdam."
        )
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(dense, {TABLE: tables})
    )


def pepnet_online() -> keras.optimizers.Optimizer:
    """Returns PEPNet's optimizer for online learning.

    AdaGrad with learning rate 0.05 on the tables, Adam with 5e-6 on the rest: a model
    that has long been trained and goes on with each new batch of logs.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), section 2.3.
    """
    return split(SparseAdagrad(0.05), keras.optimizers.Adam(5e-6))


def pepnet_offline() -> LazyAdam:
    """Returns PEPNet's optimizer for training from nothing: Adam, 1e-3, on all.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), section 3.1.3.
    """
    return LazyAdam(1e-3)
