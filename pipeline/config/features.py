"""The `features` section of a config: which columns a model reads, and as what."""

import keyword
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.values import Column, Name, Section

# Key of a categorical feature -> the kind of table that it belongs to.
_NEEDS = {
    "oov_buckets": "vocabulary",
    "num_hashes": "hash_buckets",
    "min_score": "capacity",
    "decay": "capacity",
    "pass_steps": "capacity",
}


# A name in which one `*` may stand.
_NameOrWildcard = Annotated[
    str,
    Field(pattern=r"^([A-Za-z][A-Za-z0-9_.-]*\*?[A-Za-z0-9_.-]*|\*[A-Za-z0-9_.-]*)$"),
]

# Kind of a feature -> the type that its column is given.
COLUMN_TYPES = {"categorical": "string", "numeric": "float", "sequence": "list"}


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
    table: Name | None = None
    """Features that name the same one share a table, and its vocabulary; without, the
    feature has its own.
    """
    embedding_dim: Annotated[int, Field(ge=1)] = 16
    """Numbers in a row of the table."""

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


class NumericFeature(_Feature):
    """A column of one number a row: one input, or a vector of `embedding_dim`."""

    kind: Literal["numeric"]
    """One number a row."""
    scaling: Literal["zscore", "log1p_zscore", "none"] = "zscore"
    """How it is standardised: as it is, after log(1 + x), or not at all."""
    buckets: Annotated[int, Field(ge=2, le=1000)] | None = None
    """It is cut at so many quantiles, and each bucket has a row of a table."""
    piecewise_linear: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Its vector is piecewise linear over at most so many bins."""
    embedding_dim: Annotated[int, Field(ge=1)] = 8
    """Numbers in its vector, with `buckets` or `piecewise_linear`."""

    @model_validator(mode="after")
    def _check(self) -> "NumericFeature":
        if self.buckets and self.piecewise_linear:
            raise ValueError("give one of `buckets` and `piecewise_linear`, not both")
        return self


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
    pooling: Literal["mean", "sum", "target_attention"] = "mean"
    """How the values' embeddings become one; by `target_attention` they are compared
    with `target`.
    """
    target: str | None = None
    """The feature that target attention compares with; without, `of`."""


Feature = Annotated[
    CategoricalFeature | NumericFeature | SequenceFeature, Field(discriminator="kind")
]
