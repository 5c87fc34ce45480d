"""A list of ids a row."""

import dataclasses
from collections.abc import Mapping

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.features.categorical import Categorical


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Sequence(Declaration):
    """A list of ids a row, of fixed length, that shares the table of another feature.

    The embeddings of the ids other than 0 are pooled into one vector; a row without
    any gives zeros. An id that the vocabulary lacks counts as 0.

    Args:
        name: String. The input's key.
        of: String or `Categorical`. The feature whose table it shares, which must be
            among the model's features.
        max_length: Integer. Length of the list; shorter ones are padded with 0.
        pooling: "mean", "sum" or "target_attention", see
            `tfmtl.layers.TargetAttention`. Defaults to "mean".
        target: String or `Categorical`. The feature that "target_attention" compares
            the ids with; it has the same `embedding_dim`. Defaults to `of`.
        dtype: String. That of `of`: "int64", or "string" of a vocabulary of strings.
            Defaults to it if `of` is the feature itself, else "int64".

    Example:
    >>> Sequence("watched", of="video_id", max_length=20).shape
    (20,)
    """

    name: str
    of: str
    max_length: int
    pooling: str = "mean"
    target: str | None = None
    dtype: str = "int64"

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        if isinstance(self.of, Categorical):
            object.__setattr__(self, "dtype", self.of.dtype)
        _errors.check_choice(f"dtype of {self.name!r}", self.dtype, ("int64", "string"))
        for key in ("of", "target"):
            if isinstance(getattr(self, key), Categorical):
                object.__setattr__(self, key, getattr(self, key).name)
        _errors.check_positive(f"max_length of {self.name!r}", self.max_length)
        known = ("mean", "sum", "target_attention")
        _errors.check_choice(f"pooling of {self.name!r}", self.pooling, known)
        if self.pooling == "target_attention":
            object.__setattr__(self, "target", self.target or self.of)
        elif self.target is not None:
            raise ValueError(
                f"target of {self.name!r} needs pooling='target_attention'. Received: "
                f"pooling={self.pooling!r}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.max_length,)


def check_sequence(feature: Sequence, tables: Mapping[str, Categorical]) -> None:
    """Raises a ValueError unless the table and the target of a list are `tables`'."""
    if feature.of not in tables:
        raise ValueError(
            f"Sequence {feature.name!r} must share the table of a Categorical "
            f"among the features. Received: of={feature.of!r}."
            f"{_errors.nearest(feature.of, tables)}"
        )
    if feature.dtype != tables[feature.of].dtype:
        raise ValueError(
            f"Sequence {feature.name!r} must have the dtype of {feature.of!r}, "
            f"{tables[feature.of].dtype!r}. Received: {feature.dtype!r}."
        )
    if feature.target is None:
        return
    if feature.target not in tables:
        raise ValueError(
            f"target of {feature.name!r} must be a Categorical among the features. "
            f"Received: {feature.target!r}."
            f"{_errors.nearest(feature.target, tables)}"
        )
    if tables[feature.target].shape:
        raise ValueError(
            f"target of {feature.name!r} must be one id a row. Received: the "
            f"{type(tables[feature.target]).__name__} {feature.target!r}."
        )
    dims = [tables[name].embedding_dim for name in (feature.of, feature.target)]
    if dims[0] != dims[1]:
        raise ValueError(
            f"target of {feature.name!r} must have the embedding_dim of "
            f"{feature.of!r}, {dims[0]}. Received: {feature.target!r} with "
            f"{dims[1]}."
        )
