"""A vector of numbers a row, made elsewhere."""

import dataclasses

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Vector(Declaration):
    """A vector of one width a row: a pretrained embedding, of a text or an image.

    It is not trained, but it may be projected by a matrix that is. A row without a
    vector, or with a number in it that is NaN, inf or -inf, is missing: it gets a
    trainable vector, which starts as zeros. See `tfmtl.layers.VectorEmbedding`.

    Args:
        name: String. The input's key.
        dim: Integer. How many numbers the vector has.
        embedding_dim: Integer. Width of the projection. Defaults to none: the vector
            as it is, which should then be scaled, such as to the length 1.

    Example:
    >>> Vector("cover", dim=64, embedding_dim=16).shape
    (64,)
    """

    name: str
    dim: int
    embedding_dim: int | None = None

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        _errors.check_positive(f"dim of {self.name!r}", self.dim)
        if self.embedding_dim is not None:
            what = f"embedding_dim of {self.name!r}"
            _errors.check_positive(what, self.embedding_dim)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.dim,)

    dtype = "float32"
