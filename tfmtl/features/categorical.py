"""What a model takes in: one declaration a feature.

Ids are integers, ready for a table: id 0 stands for "missing or unknown" and
pads sequences. The pipeline's transform writes them so; with other ids, start the
vocabulary at 1. Every integer type will do, uint64 by its 64 bits; of floats, whole
numbers that their type holds exactly, NaN being missing (`tfmtl.ids.as_integers`).
"""

import dataclasses
import math
import re

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.features.boundaries import check_boundaries

Feature = "Categorical | Numeric | Sequence"


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
        ):
            self._only_with(argument, default, "capacity")
        if self.oov_buckets:
            _errors.check_positive(f"oov_buckets of {self.name!r}", self.oov_buckets)
        if self.num_hashes > 1 and self.num_buckets < 2:
            raise ValueError(
                f"num_buckets of {self.name!r} must be at least 2 with several hash "
                f"functions, one row being that of id 0. Received: {self.num_buckets}."
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

    shape = ()  # of one row

    @property
    def dtype(self) -> str:
        """Type of the ids: "int64", or "string" of a vocabulary of strings."""
        texts = self.vocabulary is not None and isinstance(self.vocabulary[0], str)
        return "string" if texts else "int64"


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Numeric(Declaration):
    """One number a row, used as it is, or embedded by where it lies between boundaries.

    Used as it is, it should be scaled: before (the pipeline does), or by a
    `normalization`. A model that is trained on numbers far beyond 10 warns once. NaN,
    inf and -inf are missing, which is 0, the mean of a scaled number. So is what
    float32 cannot hold; what float16 cannot hold, under such a policy, is the largest
    number that it does.

    With `boundaries` its scale does not matter, and missing is a vector of its own: see
    `tfmtl.layers.PiecewiseLinear`. Worth it where single values or ranges mean
    something, such as an amount that is mostly 0.

    Args:
        name: String. The input's key.
        boundaries: Tuple of ascending floats, of the training split; see
            `tfmtl.quantile_boundaries`. Defaults to none: the number as it is.
        embedding_dim: Integer. Width of the embedding, with `boundaries`. Defaults to
            16 then.
        normalization: Tuple (mean, std) of the training split: the number becomes
            (number - mean) / std, also when served. Defaults to none.

    Example:
    >>> Numeric("age", boundaries=(18, 30, 65), embedding_dim=8).embedding_dim
    8
    >>> Numeric("price", normalization=(31.5, 12.0)).is_scaled
    True
    """

    name: str
    boundaries: tuple[float, ...] | None = None
    embedding_dim: int | None = None
    normalization: tuple[float, float] | None = None

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        if self.normalization is not None:
            self._check_normalization()
        if self.boundaries is None:
            if self.embedding_dim is not None:
                raise ValueError(
                    f"embedding_dim of {self.name!r} needs boundaries. Received: "
                    f"{self.embedding_dim!r} without."
                )
            return
        checked = check_boundaries(f"boundaries of {self.name!r}", self.boundaries)
        object.__setattr__(self, "boundaries", checked)
        if self.embedding_dim is None:
            object.__setattr__(self, "embedding_dim", 16)
        _errors.check_positive(f"embedding_dim of {self.name!r}", self.embedding_dim)

    def _check_normalization(self):
        try:
            mean, std = (float(number) for number in self.normalization)
        except (TypeError, ValueError):
            mean, std = math.nan, math.nan
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ValueError(
                f"normalization of {self.name!r} must be (mean, std), finite numbers, "
                f"std above 0. Received: {self.normalization!r}."
            )
        if self.boundaries is not None:
            raise ValueError(
                f"Numeric({self.name!r}) takes boundaries or a normalization, not "
                "both: between boundaries, scale does not matter. Leave it out."
            )
        object.__setattr__(self, "normalization", (mean, std))

    @property
    def is_scaled(self) -> bool:
        """Whether the model sees a number of known size, whatever the column's."""
        return self.boundaries is not None or self.normalization is not None

    shape = ()
    dtype = "float32"


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


def column_of(feature: Feature, inputs):
    """Returns a feature's column of {name: column}; raises if it is not there."""
    if feature.name not in inputs:
        raise ValueError(
            f"Feature {feature.name!r} is missing from the inputs."
            f"{_errors.nearest(feature.name, inputs)}"
        )
    return inputs[feature.name]


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
    served = {}  # {name of an input for serving: the first feature with it}
    for feature in features:
        other = served.setdefault(re.sub(r"\W", "_", feature.name).lower(), feature)
        if other is not feature:
            raise ValueError(
                "Names of features must differ in more than case, '.', '-' and '_', "
                f"for a server cannot tell them apart. Received: {other.name!r} and "
                f"{feature.name!r}."
            )
    tables = {f.name: f for f in features if isinstance(f, Categorical)}
    first = {}  # {table: the first feature with it}
    for feature in tables.values():
        other = first.setdefault(feature.table_name, feature)
        same = dataclasses.replace(feature, name=other.name, table=other.table)
        if same != other:
            raise ValueError(
                f"Features of one table must declare the same but for their names. "
                f"Received: {other} and {feature}."
            )
    for feature in features:
        if not isinstance(feature, Sequence):
            continue
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
            continue
        if feature.target not in tables:
            raise ValueError(
                f"target of {feature.name!r} must be a Categorical among the features. "
                f"Received: {feature.target!r}."
                f"{_errors.nearest(feature.target, tables)}"
            )
        dims = [tables[name].embedding_dim for name in (feature.of, feature.target)]
        if dims[0] != dims[1]:
            raise ValueError(
                f"target of {feature.name!r} must have the embedding_dim of "
                f"{feature.of!r}, {dims[0]}. Received: {feature.target!r} with "
                f"{dims[1]}."
            )


def check_domain(
    features: list, domain: str | None, what: str = "domain"
) -> Categorical | None:
    """Returns the feature whose ids are the domains; raises if there is none.

    Args:
        features: List of features.
        domain: String. Name of a categorical feature; None is a single domain.
        what: String. What names it, for the message.
    """
    if domain is None:
        return None
    found = {f.name: f for f in features if isinstance(f, Categorical)}
    if domain not in found:
        raise ValueError(
            f"{what} must be the name of a Categorical among the features. Received: "
            f"{domain!r}.{_errors.nearest(domain, found)}"
        )
    if found[domain].num_hashes > 1 or found[domain].capacity is not None:
        raise ValueError(
            f"{what} must be a Categorical with one row an id that stays, so with "
            f"neither `capacity` nor several hashes. Received: {found[domain]}."
        )
    return found[domain]
