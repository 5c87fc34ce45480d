"""What ExampleGen needs of the config, read once."""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.config import Config
from pipeline.config.features import side_fields
from pipeline.errors import PipelineError
from pipeline.logs.evaluation import Expression
from pipeline.logs.values import casting
from pipeline.logs.values.casting import Column


class Spec:
    """What logs there are, and which examples are made of them.

    Args:
        config: The pipeline's config.

    Attributes:
        data: Its section.
        named: (YAML path, column, type) of the columns of the logs that it names.
        kinds: {column: type} of the same, by their names in the examples.
        renamed: {column of the examples: column of the logs}, of features.
        weights: {feature: column of the logs with its weights}.
        time: The column by which the rows are split, where the split is by time.
        where: Which rows count.
        labels: {new column: what it is}.
        side_fields: {column of lists: the one whose events it lists, too}.

    Raises:
        PipelineError: If one column is to have two types.
    """

    def __init__(self, config: Config):
        self.data = config.data
        self.missing = config.missing_words
        self.features = {feature.name: feature for feature in config.features}
        self.side_fields = side_fields(config.features)
        self.where = self.expression(self.data.where)
        self.labels = {n: self.expression(t) for n, t in self.data.labels.items()}
        made = self.data.made()
        self.renamed = {f.name: f.column for f in config.features if f.column}
        for i, feature in enumerate(config.features):
            if feature.column and feature.name in made:
                raise PipelineError(
                    f"features.{i}.name: {feature.name!r} is a column that `data` "
                    f"makes, so that it cannot be the column {feature.column!r}, too. "
                    "Give the feature another name, or leave `column` out"
                )
        named = [column for column in config.columns() if column[1] not in made]
        self.named = [
            (path, self.renamed.get(name, name), kind) for path, name, kind in named
        ]
        weights = {f.name: getattr(f, "weights", None) for f in config.features}
        self.weights = {name: column for name, column in weights.items() if column}
        for i, feature in enumerate(config.features):
            if column := self.weights.get(feature.name):
                self.named.append((f"features.{i}.weights", column, "list"))
        self.kinds: dict[str, str] = {}
        for path, name, kind in named:
            earlier = self.kinds.setdefault(name, kind)
            if earlier != kind and (kind != "any" or earlier == "list"):
                raise PipelineError(
                    f"{path}: column {name!r} cannot be of type {kind!r} here and "
                    f"{earlier!r} elsewhere. Give the logs two columns"
                )
        split, self.time = self.data.split, None
        if split.by == "time":
            self.time = self.column(split.column, pa.null())

    def expression(self, text: str | None) -> Expression | None:
        """An expression of the config, if there is one, as workers get it."""
        return text and Expression(text, self.missing)

    def listed_as(self, name: str) -> str:
        """The type in which what a history lists travels, by the feature it becomes."""
        feature = self.features.get(name)
        return "float" if feature and feature.kind == "numeric_sequence" else "string"

    def column(self, name: str, type_: pa.DataType) -> Column:
        """A column as examples have it; `type_` is what it has in the logs."""
        kind, feature = self.kinds.get(name, "own"), self.features.get(name)
        return casting.column(
            name,
            kind,
            type_,
            self.missing(name),
            self.renamed.get(name),
            feature,
        )

    def columns(self, types: Mapping[str, pa.DataType]) -> list[Column]:
        """All columns as examples have them, in the order of the logs.

        A column that is nothing but a feature of another name has that one alone.

        Args:
            types: The columns of the logs.
        """
        own = {name for _, name in self.data.needed()}
        own |= {name for name in self.kinds if name not in self.renamed}
        features = set(self.renamed.values())
        found = [
            self.column(name, type_)
            for name, type_ in types.items()
            if name in own or name not in features
        ]
        return found + [
            self.column(new, types[old]) for new, old in self.renamed.items()
        ]
