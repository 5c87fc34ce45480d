"""Which columns of the rows stand beside their scores, and of which types."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import PipelineError
from pipeline.logs.formats import Chunk
from pipeline.logs.inspect import LogSchema, missing
from pipeline.logs.values import column_types
from pipeline.logs.values.casting import Column


def add_lists(known: set[str] | None, chunk: Chunk) -> set[str]:
    """The columns in which some row has several values; for an `InspectionSpec`."""
    found = set(known or ())
    for name, array in zip(chunk.rows.schema.names, chunk.rows.columns, strict=True):
        if column_types.is_list(array.type):
            most = pc.max(pc.list_value_length(array)).as_py()
            found |= {name} if (most or 0) > 1 else set()
    return found


def single(log: LogSchema) -> dict[str, pa.DataType]:
    """The columns' types, where each is of lists: of one value if no row has more."""
    several = set().union(*log.folded)
    return {
        name: type_.value_type
        if column_types.is_list(type_) and name not in several
        else type_
        for name, type_ in log.types.items()
    }


def column(name: str, type_: pa.DataType) -> Column:
    """A column that is kept as it stands in the rows."""
    kind = "own" if column_types.is_list(type_) else "any"  # of one value
    return Column(name, kind, type_, missing=None)


def all_single(log: LogSchema, but: Sequence[str]) -> dict[str, str]:
    """{column: itself} of all columns of one value a row."""
    return {
        name: name
        for name, type_ in log.types.items()
        if name not in but and not pa.types.is_nested(type_)
    }


def named(
    keep: Mapping[str, str], log: LogSchema, outputs: Sequence[str], format: str
) -> dict[str, str]:
    """{column of the scores: column of the rows}, as it was given.

    Raises:
        PipelineError: There is no such column, or the scores cannot hold it.
    """
    problems = missing(log, [("--keep", name) for name in keep.values()], {})
    for new, name in {} if problems else keep.items():
        if new in outputs:
            problems.append(
                f"--keep: {new!r} is an output of the model. Keep the column under "
                f"another name: NEW={name}"
            )
        type_ = log.types[name]
        is_flat = column_types.is_list(type_) and not pa.types.is_nested(
            type_.value_type
        )
        if pa.types.is_nested(type_) and (format == "csv" or not is_flat):
            problems.append(f"--keep: {name!r} is {type_}, which {format} cannot hold")
    if problems:
        raise PipelineError("\n".join(problems))
    return dict(keep)
