"""The `features` section of a config: which columns a model reads, and as what."""

import keyword
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.values import Column, Name, Section

# Key of a categorical feature -> the kind of table that it belongs to.
_NEEDS = {
    "oov_buckets": "vocabulary",
    "num_hashes": "hash_buckets",
    "min_score": "capacity",
    "decay": "capacity",
    "pass_steps": "capacity",
    "ttl": "capacity",
}


# A name in which one `*` may stand.
_NameOrWildcard = Annotated[
    str,
    Field(pattern=r"^([A-Za-z][A-Za-z0-9_.-]*\*?[A-Za-z0-9_.-]*|\*[A-Za-z0-9_.-]*)$"),
]

# Kind of a feature -> the type that its column is given; a crossed one has no column.
COLUMN_TYPES = {
    "categorical": "string",
    "numeric": "float",
    "sequence": "list",
    "numeric_sequence": "numbers",
    "vector": "vector",
    "multivalued": "list",
    "lookup": "map",
}
KINDS = (*COLUMN_TYPES, "crossed")


class VocabularyConfig(Section):
    """Which values of the train split a vocabulary has."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Those seen at least so often."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """At most so many, the most frequent ones; without, all."""


def is_servable(name: str) -> bool:
    """Whether TensorFlow can serve an input of this name.

    `tfmtl` refuses such a feature, too, but takes seconds to import.
    """
    return not keyword.iskeyword(name) and name != "self"


class _Feature(Section):
    """What a model calls an input, and the column of the logs that it is."""

    name: _NameOrWildcard
    """What the model and its requests call it. A `*` makes it a feature for each column
    that matches, such as item_*.
    """
    column: Column | None = None
    """Its column in the logs: any header, or the path of a field, `user.id`; without,
    the name. With a `*` in the name there is one here, too.
    """

    @field_validator("name")
    @classmethod
    def _is_servable(cls, name: str) -> str:
        if not is_servable(name):
            raise ValueError(
                "TensorFlow cannot serve an input called self or like a Python "
                f"keyword. Received: {name!r}; write name: {name}_, and column: {name}"
            )
        return name

    @model_validator(mode="after")
    def _has_both_stars(self) -> "_Feature":
        if self.is_wildcard and self.source.count("*") != 1:
            raise ValueError(
                "with a `*` in `name`, `column` must have one, too. Received: "
                f"{self.name!r} and {self.column!r}"
            )
        return self

    @property
    def source(self) -> str:
        """The column in the logs."""
        return self.column or self.name

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all columns that match; see `pipeline.wildcards`."""
        return "*" in self.name


class CategoricalFeature(_Feature):
    """A column of one value a row, and which rows of a table its values have.

    A table is by `vocabulary`, the default, by `hash_buckets` or by `capacity`.
    """

    kind: Literal["categorical"]
    """One value a row, which has a row of a table."""
    vocabulary: VocabularyConfig | None = None
    """The values of the train split have rows, a value that it lacks counts as missing;
    this says which have one.
    """
    oov_buckets: Annotated[int, Field(ge=0)] = 0
    """Values that the vocabulary lacks share so many rows."""
    hash_buckets: Annotated[int, Field(ge=2)] | None = None
    """Values are hashed into so many rows."""
    num_hashes: Annotated[int, Field(ge=1)] = 1
    """A hashed value has so many rows, added up."""
    capacity: Annotated[int, Field(ge=1)] | None = None
    """So many values have a row, those seen most in training."""
    min_score: Annotated[float, Field(ge=0)] = 2.0
    """With `capacity`: a new value gets a row once it has been seen so often."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    """With `capacity`: what counts are multiplied by after each pass."""
    pass_steps: Annotated[int, Field(ge=1)] = 1000
    """With `capacity`: after so many steps rows are given to others."""
    ttl: Annotated[int, Field(ge=1)] | None = None
    """With `capacity`: a value that is not seen for so many steps loses its row."""
    table: Name | None = None
    """Features that name the same one share a table, and its vocabulary; without, the
    feature has its own.
    """
    embedding_dim: Annotated[int, Field(ge=1)] = 16
    """Numbers in a row of the table."""
    sharded: bool = False
    """Whether each of several `train.workers` holds a part of the table's rows, and not
    all of them.
    """

    @property
    def by_vocabulary(self) -> bool:
        """Whether the values of the train split have the ids 1, 2, ..."""
        return not (self.hash_buckets or self.capacity)

    @property
    def table_name(self) -> str:
        """Name of the table, which other features may share."""
        return self.table or self.name

    @model_validator(mode="after")
    def _check(self) -> "CategoricalFeature":
        kinds = ("vocabulary", "hash_buckets", "capacity")
        given = [f"`{kind}`" for kind in kinds if getattr(self, kind)]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}, not both")
        for key, kind in _NEEDS.items():
            fits = self.by_vocabulary if kind == "vocabulary" else getattr(self, kind)
            # Not `model_fields_set`: a config that was dumped and read has set all.
            changed = getattr(self, key) != type(self).model_fields[key].default
            if changed and not fits:
                raise ValueError(f"`{key}` needs a table by `{kind}`")
        return self


class MultivaluedFeature(CategoricalFeature):
    """A column of several values a row, in no order, which have rows of a table.

    The table is as that of a categorical feature.
    """

    kind: Literal["multivalued"]
    """Several values a row, in no order."""
    max_length: Annotated[int, Field(ge=1)] = 20
    """The last so many values count."""
    separator: str = "|"
    """What stands between values in a field of a CSV."""
    pooling: Literal["mean", "sum", "sqrtn", "max"] = "mean"
    """How the values' embeddings become one."""
    weighted: bool = False
    """Whether values are written with their weights, as in `a:0.5|b:1`."""
    weights: Column | None = None
    """The column of the logs with the weights, as many as values; in requests they are
    written as with `weighted`.
    """

    @property
    def is_weighted(self) -> bool:
        """Whether each value has a weight."""
        return self.weighted or self.weights is not None

    @model_validator(mode="after")
    def _check_weights(self) -> "MultivaluedFeature":
        if self.weighted and self.weights:
            raise ValueError("give one of `weighted` and `weights`, not both")
        if self.is_weighted and self.pooling == "max":
            raise ValueError("weights need a pooling by mean, sum or sqrtn, not max")
        if self.weights and self.is_wildcard:
            raise ValueError("a feature with a `*` in its name cannot have `weights`")
        return self


def column_type(feature: _Feature) -> str:
    """The type that a feature's column is given: see `COLUMN_TYPES`."""
    if getattr(feature, "is_weighted", False):
        return "weighted"
    return COLUMN_TYPES[feature.kind]


def weights_name(feature: _Feature) -> str | None:
    """What a model calls the weights of a feature's values; None without."""
    weighted = getattr(feature, "is_weighted", False)
    return f"{feature.name}_weights" if weighted else None


def input_names(feature: _Feature) -> list[str]:
    """What a model reads of a feature: itself, and the weights of its values."""
    weights = weights_name(feature)
    return [feature.name, weights] if weights else [feature.name]


class NumericFeature(_Feature):
    """A column of one number a row: one input, or a vector of `embedding_dim`."""

    kind: Literal["numeric"]
    """One number a row."""
    scaling: Literal["zscore", "log1p_zscore", "none"] = "zscore"
    """How it is standardised: as it is, after log(1 + x), or not at all."""
    buckets: Annotated[int, Field(ge=2, le=1000)] | None = None
    """It is cut into so many buckets, each of which has a row of a table."""
    bucketing: Literal["quantile", "log"] = "quantile"
    """Where it is cut: so that buckets have equally many rows, or equal widths of
    log(1 + x), which is taken of 0 where it is below.
    """
    piecewise_linear: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Its vector is piecewise linear over at most so many bins."""
    autodis: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Its vector is a mixture of so many that are learnt, by AutoDis."""
    embedding_dim: Annotated[int, Field(ge=1)] = 8
    """Numbers in its vector, with `buckets`, `piecewise_linear` or `autodis`."""

    @model_validator(mode="after")
    def _check(self) -> "NumericFeature":
        kinds = ("buckets", "piecewise_linear", "autodis")
        given = [f"`{kind}`" for kind in kinds if getattr(self, kind)]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}, not both")
        if self.bucketing != "quantile" and not self.buckets:
            raise ValueError("`bucketing` needs `buckets`")
        return self

    @property
    def knows_missing(self) -> bool:
        """Whether a missing number is none to the model, and not the mean."""
        return bool(self.piecewise_linear or self.autodis)


class SequenceFeature(_Feature):
    """A column of a list of values a row, which share the table of another feature."""

    kind: Literal["sequence"]
    """A list of values a row."""
    of: str
    """The feature whose values it lists, and whose vocabulary and table it shares."""
    max_length: Annotated[int, Field(ge=1)] = 20
    """The last so many values count."""
    separator: str = "|"
    """What stands between values in a field of a CSV."""
    pooling: Literal["mean", "sum", "max", "target_attention"] = "mean"
    """How the values' embeddings become one; by `target_attention` they are compared
    with `target`.
    """
    encoder: str | dict[str, Any] | None = None
    """In place of a pooling: `dien`, `bst`, `sasrec`, `eta` or `sim`, or {name: bst,
    heads: 4} with options.
    """
    target: str | None = None
    """The feature that the values are compared with; without, `of`."""
    side_of: str | None = None
    """The sequence whose events this one lists too, as a side field: it is encoded with
    that one.
    """


class NumericSequenceFeature(_Feature):
    """A column of a list of numbers a row: a side field of a sequence."""

    kind: Literal["numeric_sequence"]
    """A list of numbers a row, one for each event of a sequence."""
    side_of: str
    """The sequence whose events it tells of, and with which it is encoded."""
    max_length: Annotated[int, Field(ge=1)] = 20
    """The last so many numbers count, as many as values of the sequence."""
    separator: str = "|"
    """What stands between numbers in a field of a CSV."""
    scaling: Literal["zscore", "log1p_zscore", "none"] = "zscore"
    """How numbers are standardised: as they are, after log(1 + x), or not at all."""
    piecewise_linear: Annotated[int, Field(ge=2, le=1000)] | None = None
    """A number's vector is piecewise linear over at most so many bins."""
    embedding_dim: Annotated[int, Field(ge=1)] = 8
    """Numbers in its vector, with `piecewise_linear`."""

    @property
    def knows_missing(self) -> bool:
        """Whether a missing number is none to the model, and not the mean."""
        return self.piecewise_linear is not None


class VectorFeature(_Feature):
    """A column of a vector a row, such as a pretrained embedding."""

    kind: Literal["vector"]
    """A vector of numbers a row."""
    dim: Annotated[int, Field(ge=1)]
    """How many numbers each vector has."""
    separator: str = "|"
    """What stands between numbers in a field of a CSV, unless they are in brackets."""
    embedding_dim: Annotated[int, Field(ge=1)] | None = None
    """Width of a trainable projection; without, the vector is taken as it is."""


class CrossedFeature(_Feature):
    """Values of other features together, such as a tab and an hour: no column."""

    kind: Literal["crossed"]
    """The values of other features together have a row of a table."""
    of: Annotated[list[str], Field(min_length=2)]
    """The features: categorical ones, or numeric ones with `buckets`."""
    hash_buckets: Annotated[int, Field(ge=2)]
    """Their values together are hashed into so many rows."""
    embedding_dim: Annotated[int, Field(ge=1)] = 16
    """Numbers in a row of the table."""

    @property
    def table_name(self) -> str:
        """Name of the table."""
        return self.name

    @model_validator(mode="after")
    def _has_no_column(self) -> "CrossedFeature":
        if self.column or self.is_wildcard:
            raise ValueError("a crossed feature has a name, and no column of its own")
        return self


class LookupFeature(_Feature):
    """A number that a map in each row has for the value of another feature.

    Such as the rate at which a user clicks on the category of the candidate.
    """

    kind: Literal["lookup"]
    """A number that is looked up in a map of each row."""
    key: str
    """The categorical feature whose value is looked up."""
    max_length: Annotated[int, Field(ge=1)] = 50
    """The last so many entries of the map count."""
    separator: str = "|"
    """What stands between the entries in a field of a CSV, as in `a:0.5|b:1`."""
    scaling: Literal["none", "log1p"] = "none"
    """Whether the number's logarithm is taken, log(1 + x)."""


Feature = Annotated[
    CategoricalFeature
    | CrossedFeature
    | LookupFeature
    | MultivaluedFeature
    | NumericFeature
    | NumericSequenceFeature
    | SequenceFeature
    | VectorFeature,
    Field(discriminator="kind"),
]


def each_alone(features: Iterable[_Feature]) -> bool:
    """Whether each feature is made of its own column alone."""
    return all(feature.kind not in ("crossed", "lookup") for feature in features)


def side_fields(features: Iterable[_Feature]) -> dict[str, str]:
    """{feature: the sequence whose events it lists, too}."""
    sides = ((f.name, getattr(f, "side_of", None)) for f in features)
    return {name: events for name, events in sides if events}
