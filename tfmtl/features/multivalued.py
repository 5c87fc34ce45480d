"""Several ids a row, in no order."""

import dataclasses

import keras

from tfmtl import _errors
from tfmtl.features.categorical import Categorical


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Multivalued(Categorical):
    """Several ids a row, in no order, such as tags: looked up, and pooled into one.

        mean   v = sum_i w_i e_i / sum_i w_i
        sum    v = sum_i w_i e_i
        sqrtn  v = sum_i w_i e_i / sqrt(sum_i w_i^2)
        max    v = max_i e_i, number by number

    over the ids other than 0, with e_i their rows of the table and w_i their weights, 1
    where there are none. A row without any gives zeros. Unlike a `Sequence`, it has a
    table of its own, or shares one by `table`.

    Args:
        name: String. The input's key.
        max_length: Integer. Most ids of a row: the last so many count, and fewer are
            padded with 0. Defaults to 20.
        pooling: "mean", "sum", "sqrtn" or "max". Defaults to "mean".
        weights: String. The key of another input, which has a weight for each id. A
            weight that is not above 0, or not finite, leaves its id out. Defaults to
            none.

    All other arguments are those of `Categorical`.

    Example:
    >>> tags = Multivalued("tags", num_buckets=100, max_length=8, weights="tag_weights")
    >>> tags.shape, tags.table_size
    ((8,), 100)
    """

    max_length: int = 20
    pooling: str = "mean"
    weights: str | None = None

    def __post_init__(self):
        super().__post_init__()
        _errors.check_positive(f"max_length of {self.name!r}", self.max_length)
        known = ("mean", "sum", "sqrtn", "max")
        _errors.check_choice(f"pooling of {self.name!r}", self.pooling, known)
        if self.weights is None:
            return
        _errors.check_feature_name(self.weights)
        if self.pooling == "max":
            raise ValueError(
                f"weights of {self.name!r} need a pooling that they weigh: 'mean', "
                "'sum' or 'sqrtn'. Received: pooling='max'."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.max_length,)
