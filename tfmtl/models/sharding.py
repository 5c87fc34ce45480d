"""What cannot be done with tables of which each replica holds a part."""

import keras

from tfmtl.layers.embedding.sharded_table import ShardedTable
from tfmtl.optimizers.row_sparse import RowSparse, optimizer_of
from tfmtl.training.balancing.gradient_balancing import GradientBalancing


def check_training(model, optimizer, loss_weighting) -> None:
    """Raises a ValueError unless a model's sharded tables can be trained in this way.

    Args:
        model: `MultiTaskModel`.
        optimizer: Keras optimizer.
        loss_weighting: `tfmtl.training.LossWeighting`.
    """
    tables = [v for v in model.variables if isinstance(v, ShardedTable)]
    if not tables:
        return
    if isinstance(loss_weighting, GradientBalancing):
        raise ValueError(
            "Sharded tables go with loss weightings of one backward pass, such as "
            "fixed, uncertainty, dwa or famo. Received: "
            f"{type(loss_weighting).__name__}, which compares gradients of whole "
            "tables. Take another, or leave out `sharded`."
        )
    of_tables = optimizer_of(optimizer, tables[0])
    if not isinstance(of_tables, RowSparse):
        raise ValueError(
            "Sharded tables need an optimizer of tfmtl.optimizers, which leaves the "
            f"sum of gradients to the exchange. Received: {type(of_tables).__name__}."
        )
    if of_tables.clipnorm or of_tables.global_clipnorm:
        raise ValueError(
            "No replica knows the norm of a sharded table's gradient. Received: "
            f"{type(of_tables).__name__} with clipnorm or global_clipnorm. Take "
            "clipvalue, or tfmtl.optimizers.split with the norm in the dense part."
        )
    policy = keras.dtype_policies.get(model.dtype_policy).name
    if policy == "mixed_float16":
        raise ValueError(
            "Sharded tables are trained in float32 or mixed_bfloat16: replicas would "
            f"scale the loss each by itself. Received: {policy}."
        )


def check_whole(model) -> None:
    """Raises a ValueError unless a process has all rows of a model's tables."""
    tables = [v.path for v in model.variables if isinstance(v, ShardedTable)]
    if tables:
        raise ValueError(
            "A model is exported by one process that has all rows. Received: a model "
            f"in the scope of several replicas, each with a part of {tables}. Call "
            "model.save(PATH) on all workers, and export what keras.models.load_model("
            "PATH) returns outside of the strategy's scope."
        )
