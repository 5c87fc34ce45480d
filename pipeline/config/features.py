"""The `features` section of a config: which columns a model reads, and as what."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.data import Column, Name, Section

# Key of a categorical feature -> the kind of table that it belongs to.
_NEEDS = {
    "oov_buckets": "vocabulary",
    "num_hashes": "hash_buckets",
    "min_score": "capacity",
    "decay": "capacity",
    "pass_steps": "capacity",
}


# Kind of a feature -> the type that its column is given.
COLUMN_TYPES = {"categorical": "string", "numeric": "float", "sequence": "list"}


class VocabularyConfig(Section):
    """Values seen at least `min_count` times in the train split, at most `max_size`."""

    min_count: Annotated[int, Field(ge=1)] = 1
    max_size: Annotated[int, Field(ge=1)] | None = None


class _Feature(Section):
    """What a model calls an input, and the column of the logs that it is.

    `column`: any header, or the path of a field, `user.id`. Defaults to the name.
    """

    name: Name
    column: Column | None = None

    @property
    def source(self) -> str:
        """The column in the logs."""
        return self.column or self.name


class CategoricalFeature(_Feature):
    """A column of one value a row, and which rows of a table its values have.

    By `vocabulary`, the default: a value that it lacks counts as missing, or shares one
    of `oov_buckets` rows. By `hash_buckets`: a value has `num_hashes` rows, added up.
    By `capacity`: so many values have a row, those seen most in training; `min_score`,
    `decay` and `pass_steps` say how, see `tfmtl.Categorical`. Features of one `table`
    share it, and its vocabulary.
    """

    kind: Literal["categorical"]
    vocabulary: VocabularyConfig | None = None
    oov_buckets: Annotated[int, Field(ge=0)] = 0
    hash_buckets: Annotated[int, Field(ge=2)] | None = None
    num_hashes: Annotated[int, Field(ge=1)] = 1
    capacity: Annotated[int, Field(ge=1)] | None = None
    min_score: Annotated[float, Field(ge=0)] = 2.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    pass_steps: Annotated[int, Field(ge=1)] = 1000
    table: Name | None = None
    embedding_dim: Annotated[int, Field(ge=1)] = 16

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
    """A column of one number a row, standardised, or embedded with `embedding_dim`.

    `buckets`: it is cut at so many quantiles, and each bucket has a row of a table.
    `piecewise_linear`: its vector is piecewise linear over at most so many bins, see
    `tfmtl.layers.PiecewiseLinear`; they are made by `tfmtl.quantile_boundaries`.
    """

    kind: Literal["numeric"]
    scaling: Literal["zscore", "log1p_zscore", "none"] = "zscore"
    buckets: Annotated[int, Field(ge=2, le=1000)] | None = None
    piecewise_linear: Annotated[int, Field(ge=2, le=1000)] | None = None
    embedding_dim: Annotated[int, Field(ge=1)] = 8

    @model_validator(mode="after")
    def _check(self) -> "NumericFeature":
        if self.buckets and self.piecewise_linear:
            raise ValueError("give one of `buckets` and `piecewise_linear`, not both")
        return self


class SequenceFeature(_Feature):
    """A list of values a row, which share the vocabulary and the table of feature `of`.

    The last `max_length` values count. In a CSV the values stand in one field, with
    `separator` between them. Their embeddings become one by `pooling`; for
    "target_attention" they are compared with feature `target`, by default `of`.
    """

    kind: Literal["sequence"]
    of: str
    max_length: Annotated[int, Field(ge=1)] = 20
    separator: str = "|"
    pooling: Literal["mean", "sum", "target_attention"] = "mean"
    target: str | None = None


Feature = Annotated[
    CategoricalFeature | NumericFeature | SequenceFeature, Field(discriminator="kind")
]
