"""Lists of ids a row, and lists that say more of the same events."""

import dataclasses
from collections.abc import Mapping

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.features.categorical import Categorical
from tfmtl.features.numeric import Numeric

POOLINGS = ("mean", "sum", "max", "target_attention")
# Name of an encoder -> whether it compares the events with a target.
ENCODERS = {
    "mean": False,
    "sum": False,
    "max": False,
    "target_attention": True,
    "dien": True,
    "bst": True,
    "sasrec": False,
    "eta": True,
    "sim": True,
}


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Sequence(Declaration):
    """A list of ids a row, of fixed length, that shares the table of another feature.

    The embeddings of the ids other than 0 become one vector; a row without any gives
    zeros, but for "bst". An id that the vocabulary lacks counts as 0.

    The list is of events, such as plays, the oldest first. More is said of them by
    lists beside it, another `Sequence` or a `NumericSequence` with `side_of`: their
    embeddings stand behind this one's in the vector of each event, before all are
    encoded. An event is there if any of its ids is known. The target's vector is then
    that of `target`, followed by that of each list of ids, and zeros for numbers.

    Args:
        name: String. The input's key.
        of: String or `Categorical`. The feature whose table it shares, which must be
            among the model's features.
        max_length: Integer. Length of the list; shorter ones are padded with 0.
        pooling: "mean", "sum", "max" or "target_attention". Defaults to "mean".
        target: String or `Categorical`. The feature that the ids are compared with, by
            an encoder that does; it has the same `embedding_dim`. Defaults to `of`.
        dtype: String. That of `of`: "int64", or "string" of a vocabulary of strings.
            Defaults to it if `of` is the feature itself, else "int64".
        encoder: String, or dict {"name": string, **options}, in place of a pooling: one
            of `tfmtl.layers.sequence_encoder`, such as "dien" or
            {"name": "bst", "heads": 4}. "sim" also needs which side field is searched:
            {"name": "sim", "category": "watched_category"}.
        side_of: String. The sequence of which this is a side field: a list of the same
            length, encoded with it.

    Example:
    >>> Sequence("watched", of="video_id", max_length=20).shape
    (20,)
    >>> Sequence("watched_by", of="author", max_length=20, side_of="watched").target
    'author'
    """

    name: str
    of: str
    max_length: int
    pooling: str = "mean"
    target: str | None = None
    dtype: str = "int64"
    encoder: str | dict | None = None
    side_of: str | None = None

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        if isinstance(self.of, Categorical):
            object.__setattr__(self, "dtype", self.of.dtype)
        _errors.check_choice(f"dtype of {self.name!r}", self.dtype, ("int64", "string"))
        for key in ("of", "target"):
            if isinstance(getattr(self, key), Categorical):
                object.__setattr__(self, key, getattr(self, key).name)
        _errors.check_positive(f"max_length of {self.name!r}", self.max_length)
        _errors.check_choice(f"pooling of {self.name!r}", self.pooling, POOLINGS)
        self._check_encoder()
        if self.side_of is not None or ENCODERS[self.encoding[0]]:
            object.__setattr__(self, "target", self.target or self.of)
        elif self.target is not None:
            takes = ", ".join(name for name, target in ENCODERS.items() if target)
            raise ValueError(
                f"target of {self.name!r} needs an encoder that takes one: {takes}. "
                f"Received: {self.encoding[0]!r}."
            )

    def _check_encoder(self):
        if self.encoder is not None:
            if self.pooling != "mean":
                raise ValueError(
                    f"Sequence({self.name!r}) takes a pooling or an encoder, not both. "
                    f"Received: {self.pooling!r} and {self.encoder!r}."
                )
            given = self.encoder
            name = given.get("name") if isinstance(given, Mapping) else given
            _errors.check_choice(f"encoder of {self.name!r}", name, ENCODERS)
            if name == "sim" and not isinstance(self.category, str):
                raise ValueError(
                    f"encoder of {self.name!r} needs the side field by which it "
                    'searches: {"name": "sim", "category": ...}. Received: '
                    f"{given!r}."
                )
        if self.side_of is not None and self.encoding != ("mean", {}):
            raise ValueError(
                f"Sequence({self.name!r}) is encoded with {self.side_of!r}, whose "
                f"pooling or encoder counts. Received: {self.encoding[0]!r}; leave it "
                "out."
            )

    @property
    def encoding(self) -> tuple[str, dict]:
        """The encoder's name and options."""
        if isinstance(self.encoder, Mapping):
            options = {k: v for k, v in self.encoder.items() if k != "name"}
            if self.category is not None:
                del options["category"]
            return self.encoder["name"], options
        return self.encoder or self.pooling, {}

    @property
    def category(self) -> str | None:
        """The side field by which the encoder "sim" searches; None of another."""
        given = self.encoder if isinstance(self.encoder, Mapping) else {}
        return given.get("category") if given.get("name") == "sim" else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.max_length,)


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class NumericSequence(Declaration):
    """A list of numbers a row, one for each event of a `Sequence`: a side field.

    Such as how long a video was played, or how long ago. NaN, inf and -inf are missing,
    as in a `Numeric`, and so is what pads a shorter list.

    Args:
        name: String. The input's key.
        side_of: String. The sequence whose events it describes.
        max_length: Integer. Length of the list, that of the sequence.
        boundaries: Tuple of ascending floats, as of a `Numeric`.
        embedding_dim: Integer. As of a `Numeric`.
        normalization: Tuple (mean, std), as of a `Numeric`.

    Example:
    >>> NumericSequence("seconds", side_of="watched", max_length=20).shape
    (20,)
    """

    name: str
    side_of: str
    max_length: int
    boundaries: tuple[float, ...] | None = None
    embedding_dim: int | None = None
    normalization: tuple[float, float] | None = None

    def __post_init__(self):
        of_one = Numeric(
            self.name, self.boundaries, self.embedding_dim, self.normalization
        )
        for key in ("boundaries", "embedding_dim", "normalization"):
            object.__setattr__(self, key, getattr(of_one, key))
        _errors.check_positive(f"max_length of {self.name!r}", self.max_length)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.max_length,)

    @property
    def is_scaled(self) -> bool:
        """Whether the model sees numbers of known size, whatever the column's."""
        return self.boundaries is not None or self.normalization is not None

    dtype = "float32"


def side_fields(features: list) -> dict[str, list]:
    """Returns {sequence: the features that are its side fields}."""
    fields = {}
    for feature in features:
        if isinstance(feature, Sequence) and feature.side_of is None:
            fields[feature.name] = []
    for feature in features:
        if getattr(feature, "side_of", None):
            fields.setdefault(feature.side_of, []).append(feature)
    return fields


def check_side_field(
    feature: Sequence | NumericSequence, sequences: Mapping[str, Sequence]
) -> None:
    """Raises a ValueError unless a list is of the events of one of `sequences`."""
    events = sequences.get(feature.side_of)
    if events is None or events.side_of is not None:
        known = [name for name, s in sequences.items() if s.side_of is None]
        raise ValueError(
            f"side_of of {feature.name!r} must be a Sequence among the features that "
            f"is no side field itself. Received: {feature.side_of!r}."
            f"{_errors.nearest(feature.side_of, known)}"
        )
    if feature.max_length != events.max_length:
        raise ValueError(
            f"max_length of {feature.name!r} must be that of {events.name!r}, "
            f"{events.max_length}. Received: {feature.max_length}."
        )


def check_category(
    feature: Sequence, fields: list, tables: Mapping[str, Categorical]
) -> None:
    """Raises a ValueError unless an encoder finds the category that it searches by."""
    ids = {field.name: field for field in fields if isinstance(field, Sequence)}
    if feature.category is None:
        return
    if feature.category not in ids:
        raise ValueError(
            f"category of the encoder of {feature.name!r} must be a Sequence with "
            f"side_of={feature.name!r}. Received: {feature.category!r}."
            f"{_errors.nearest(feature.category, ids)}"
        )
    field = ids[feature.category]
    one, other = (tables[name].table_name for name in (field.of, field.target))
    if one != other:
        raise ValueError(
            f"target of {field.name!r}, by which {feature.name!r} is searched, must "
            f"share the table of {field.of!r}. Received: {field.target!r}."
        )


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
