"""One id a row, looked up in a table."""

import dataclasses

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Categorical(Declaration):
    """One id a row, looked up in an embedding table.

    Args:
        name: String. The input's key.
        vocabulary_size: Integer. Rows of the table; ids are in [0, vocabulary_size),
            and an id outside is treated as 0, missing or unknown.
        vocabulary: Tuple of different strings, or of integers: what the column holds
            instead of such ids. The first has row 1, and so on; row 0 is for all else
            and for "", missing. Strings are looked up in the graph, also when served,
            but not by XLA.
        num_buckets: Integer. Rows of the table for ids of any size, taken modulo
            `num_buckets`.
        embedding_dim: Integer. Width of the embedding. Defaults to 16.
        oov_buckets: Integer. More rows, with a `vocabulary_size`: an id outside of it
            shares one of them, named by its hash, instead of row 0. Defaults to 0.
        num_hashes: Integer. With `num_buckets`, an embedding is the sum of so many
            rows of the table, each named by a hash function of its own ("Bloom
            embeddings"): ids that meet in one row hardly meet in all. 1, the default,
            is the id's row modulo the buckets. With more, id 0 has row 0 to itself.
        capacity: Integer. Most ids that have a row of their own, for ids of any size
            and number: those of the highest scores, see
            `tfmtl.layers.embedding.scored_rows.ScoredRows`. All others share row 0.
        min_score: Float. Score from which on an id may have a row; it is seen so often,
            less what has decayed. Defaults to 2.
        decay: Float in (0, 1]. Factor of all scores after a pass. Defaults to 0.99.
        pass_steps: Integer. Batches of a pass. Defaults to 1000.
        table: String. Features that name the same table share it; they must declare
            the same but for their names. Defaults to a table of the feature's name.
        ttl: Integer. With `capacity`: an id that has not been seen in so many batches
            of training loses its row. Defaults to none: only to an id of higher score.
        sharded: Boolean. Whether the rows of the table are spread over the replicas of
            a `tf.distribute` strategy, so that each holds a part. Defaults to False:
            each holds all.

    Exactly one of `vocabulary`, `vocabulary_size`, `num_buckets` and `capacity` must be
    given.

    Example:
    >>> Categorical("video_id", vocabulary_size=10_000, embedding_dim=16).table_size
    10000
    >>> Categorical("tab", vocabulary=["feed", "follow"]).dtype
    'string'
    """

    name: str
    vocabulary_size: int | None = None
    num_buckets: int | None = None
    embedding_dim: int = 16
    oov_buckets: int = 0
    num_hashes: int = 1
    capacity: int | None = None
    min_score: float = 2.0
    decay: float = 0.99
    pass_steps: int = 1000
    table: str | None = None
    vocabulary: tuple[str, ...] | tuple[int, ...] | None = None
    sharded: bool = False
    ttl: int | None = None

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        if self.vocabulary is not None:
            self._check_vocabulary()
        sizes = ("vocabulary_size", "num_buckets", "capacity")
        given = [size for size in sizes if getattr(self, size) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Categorical({self.name!r}) needs exactly one of `vocabulary`, "
                f"`vocabulary_size`, `num_buckets` and `capacity`. Received: "
                f"{given or 'none'}."
            )
        for what in (*given, "embedding_dim", "num_hashes", "pass_steps"):
            _errors.check_positive(f"{what} of {self.name!r}", getattr(self, what))
        self._only_with("oov_buckets", 0, "vocabulary_size")
        self._only_with("num_hashes", 1, "num_buckets")
        for argument, default in (
            ("min_score", 2.0),
            ("decay", 0.99),
            ("pass_steps", 1000),
            ("ttl", None),
        ):
            self._only_with(argument, default, "capacity")
        if self.ttl is not None:
            _errors.check_positive(f"ttl of {self.name!r}", self.ttl)
        if self.oov_buckets:
            _errors.check_positive(f"oov_buckets of {self.name!r}", self.oov_buckets)
        if self.num_hashes > 1 and self.num_buckets < 2:
            raise ValueError(
                f"num_buckets of {self.name!r} must be at least 2 with several hash "
                f"functions, one row being that of id 0. Received: {self.num_buckets}."
            )
        if not isinstance(self.sharded, bool):
            raise ValueError(
                f"sharded of {self.name!r} must be true or false. Received: "
                f"{self.sharded!r}."
            )
        _errors.check_number(f"min_score of {self.name!r}", self.min_score)
        if not _errors.is_number(self.decay) or not 0 < self.decay <= 1:
            raise ValueError(
                f"decay of {self.name!r} must be in (0, 1]. Received: {self.decay!r}."
            )
        _errors.check_name("a table", self.table_name)

    def _check_vocabulary(self):
        values = self.vocabulary
        if hasattr(values, "tolist"):  # an array, such as pandas' `unique` returns
            values = values.tolist()
        is_list = isinstance(values, list | tuple) and values
        types = {type(value) for value in values} if is_list else set()
        if types not in ({str}, {int}) or "" in values:
            raise ValueError(
                f"vocabulary of {self.name!r} must be a list of strings, none of them "
                "empty, or of integers. Received: "
                f"{sorted(t.__name__ for t in types) or type(values).__name__}."
            )
        if len(set(values)) < len(values):
            raise ValueError(
                f"vocabulary of {self.name!r} must hold every value once. Received: "
                f"{len(values)} values, {len(set(values))} different ones."
            )
        object.__setattr__(self, "vocabulary", tuple(values))
        size = len(values) + 1
        if self.vocabulary_size not in (None, size):
            raise ValueError(
                f"vocabulary_size of {self.name!r} follows from its vocabulary: "
                f"{size}. Received: {self.vocabulary_size}; leave it out."
            )
        object.__setattr__(self, "vocabulary_size", size)

    def _only_with(self, argument, default, size):
        if getattr(self, argument) != default and getattr(self, size) is None:
            raise ValueError(
                f"{argument} of {self.name!r} needs {size}. Received: "
                f"{getattr(self, argument)!r} without."
            )

    @property
    def table_name(self) -> str:
        """Name of the table, which other features may share."""
        return self.table or self.name

    @property
    def table_size(self) -> int:
        """Rows of the embedding table."""
        if self.capacity is not None:
            return self.capacity + 1
        if self.num_buckets is not None:
            return self.num_buckets
        return self.vocabulary_size + self.oov_buckets

    @property
    def has_plain_ids(self) -> bool:
        """Whether an id is its row, and every other id unknown."""
        return (
            self.vocabulary_size is not None
            and self.vocabulary is None
            and not self.oov_buckets
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return ()

    @property
    def dtype(self) -> str:
        """Type of the ids: "int64", or "string" of a vocabulary of strings."""
        texts = self.vocabulary is not None and isinstance(self.vocabulary[0], str)
        return "string" if texts else "int64"
