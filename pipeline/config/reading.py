"""How the files of a log are read: the keys of `data` and of each further log."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.values import Character, Columns, Section


class Reading(Section):
    """How the files of a log are read; all but `format` are for CSV."""

    format: Literal["csv", "jsonl", "parquet", "tfrecord"] | None = None
    """The format, where the files' names do not tell it."""
    delimiter: Character | None = None
    """What stands between fields; without, a tab in .tsv files, else a comma."""
    quote: Character | None = '"'
    """What stands around a field that holds delimiters, line breaks or quotes
    (doubled); null for none.
    """
    columns: Columns | None = None
    """The names of the columns, where the files have no header."""
    strip: bool = False
    """Whether white space around a field is no part of it."""
    escape: Character | None = None
    """What stands before a quote that does not end a field, mostly a backslash."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """So many lines before the header are skipped."""
    comment: Annotated[str, Field(min_length=1)] | None = None
    """Lines before the header that start so are skipped, after `skip_lines`."""
    decimal: Character = "."
    """The decimal point of numbers."""
    thousands: Character | None = None
    """What stands between the thousands of numbers."""
    multiline: bool = True
    """Whether a quoted field may hold line breaks; where none does, false lets several
    workers share a large file.
    """

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: list[str] | None) -> list[str] | None:
        twice = sorted({c for c in columns or [] if columns.count(c) > 1})
        if twice:
            raise ValueError(f"each column needs a name of its own. Received: {twice}")
        return columns

    @model_validator(mode="after")
    def _differ(self) -> "Reading":
        if self.quote and self.quote == self.delimiter:
            raise ValueError("`delimiter` and `quote` must differ")
        if self.decimal == self.thousands:
            raise ValueError("`decimal` and `thousands` must differ")
        return self
