"""What a model takes in: one declaration a feature.

Ids are integers, ready for a table: id 0 stands for "missing or unknown" and
pads sequences. The pipeline's transform writes them so; with other ids, start the
vocabulary at 1.
"""

import dataclasses

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration

Feature = "Categorical | Numeric | Sequence"


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True)
class Categorical(Declaration):
    """One id a row, looked up in an embedding table.

    Args:
        name: String. The input's key.
        vocabulary_size: Integer. Rows of the table; ids are in [0, vocabulary_size),
            and an id outside is treated as 0, missing or unknown.
        num_buckets: Integer. Rows of the table for ids of any size, taken modulo
            `num_buckets`. Give exactly one of `vocabulary_size` and `num_buckets`.
        embedding_dim: Integer. Width of the embedding. Defaults to 16.

    Example:
    >>> Categorical("video_id", vocabulary_size=10_000, embedding_dim=16).table_size
    10000
    """

    name: str
    vocabulary_size: int | None = None
    num_buckets: int | None = None
    embedding_dim: int = 16

    def __post_init__(self):
        _errors.check_name("a feature", self.name)
        if (self.vocabulary_size is None) == (self.num_buckets is None):
            raise ValueError(
                f"Categorical({self.name!r}) needs exactly one of `vocabulary_size` "
                f"and `num_buckets`. Received: {self.vocabulary_size} and "
                f"{self.num_buckets}."
            )
        which = "vocabulary_size" if self.vocabulary_size is not None else "num_buckets"
        _errors.check_positive(f"{which} of {self.name!r}", self.table_size)
        _errors.check_positive(f"embedding_dim of {self.name!r}", self.embedding_dim)

    @property
    def table_size(self) -> int:
        """Rows of the embedding table."""
        return (
            self.num_buckets if self.vocabulary_size is None else self.vocabulary_size
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return ()

    dtype = "int64"


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True)
class Numeric(Declaration):
    """One number a row, used as it is; scale it before (the pipeline does).

    Args:
        name: String. The input's key.

    Example:
    >>> Numeric("duration")
    Numeric(name='duration')
    """

    name: str

    def __post_init__(self):
        _errors.check_name("a feature", self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return ()

    dtype = "float32"


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True)
class Sequence(Declaration):
    """A list of ids a row, of fixed length, that shares the table of another feature.

    The embeddings of the ids other than 0 are pooled into one vector; a row without
    any gives zeros.

    Args:
        name: String. The input's key.
        of: String or `Categorical`. The feature whose table it shares, which must be
            among the model's features.
        max_length: Integer. Length of the list; shorter ones are padded with 0.
        pooling: "mean" or "sum". Defaults to "mean".

    Example:
    >>> Sequence("watched", of="video_id", max_length=20).shape
    (20,)
    """

    name: str
    of: str
    max_length: int
    pooling: str = "mean"

    def __post_init__(self):
        _errors.check_name("a feature", self.name)
        if isinstance(self.of, Categorical):
            object.__setattr__(self, "of", self.of.name)
        _errors.check_positive(f"max_length of {self.name!r}", self.max_length)
        _errors.check_choice(f"pooling of {self.name!r}", self.pooling, ("mean", "sum"))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.max_length,)

    dtype = "int64"


def check_features(features: list) -> None:
    """Raises a ValueError unless `features` can feed a model together."""
    if not features:
        raise ValueError("A model needs at least one feature. Received none.")
    for feature in features:
        if not isinstance(feature, Categorical | Numeric | Sequence):
            raise ValueError(
                "A feature must be a Categorical, Numeric or Sequence. Received: "
                f"{feature!r}."
            )
    _errors.check_unique("Features", [feature.name for feature in features])
    tables = [f.name for f in features if isinstance(f, Categorical)]
    for feature in features:
        if isinstance(feature, Sequence) and feature.of not in tables:
            raise ValueError(
                f"Sequence {feature.name!r} must share the table of a Categorical "
                f"among the features. Received: of={feature.of!r}."
                f"{_errors.nearest(feature.of, tables)}"
            )


def check_domain(features: list, domain: str | None) -> Categorical | None:
    """Returns the feature whose ids are the domains; raises if there is none.

    Args:
        features: List of features.
        domain: String. Name of a categorical feature; None is a single domain.
    """
    if domain is None:
        return None
    found = {f.name: f for f in features if isinstance(f, Categorical)}
    if domain not in found:
        raise ValueError(
            "domain must be the name of a Categorical among the features. Received: "
            f"{domain!r}.{_errors.nearest(domain, found)}"
        )
    return found[domain]
