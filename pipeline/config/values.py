"""What sections are made of, and the types of values that several of them have."""

import re
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from pipeline.config import expressions
from pipeline.storage import mirror


class Section(pydantic.BaseModel):
    """A part of a config: an unknown key is an error, and nothing changes later.

    The text below a key is its description, in docs/config.md and in editors; that of a
    section may be left out, where it would be the section's own.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True
    )


# Feature and task names become the inputs and outputs of the served model, so they
# are held to what TensorFlow takes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]

# A folder, or a place in an object store, which is worked on in its mirror. What is
# written down of it is the place, which is the same on all machines.
Folder = Annotated[str, AfterValidator(mirror.of), PlainSerializer(mirror.shown)]

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_DURATION = r"^(\d+(?:\.\d+)?)\s*([smhd])$"
_DurationText = Annotated[
    str, Field(pattern=_DURATION, json_schema_extra={"format": "time-span"})
]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> Any:
    """Turns "90s", "30m", "1.5h" or "7d" into seconds; a number stays as it is."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(_DURATION, value.strip())
    if not match:
        raise ValueError("a duration is a number of seconds, or such as 90s, 30m, 7d")
    return float(match[1]) * _SECONDS[match[2]]


def _parsed(text: str) -> str:
    expressions.parse(text)
    return text


def _character(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in "\r\n":
        raise ValueError(
            f"one ASCII character is needed, and no line break. Received: {text!r}"
        )
    return text


Duration = Annotated[
    _Seconds,
    BeforeValidator(_seconds, json_schema_input_type=_Seconds | _DurationText),
]
# A format is what docs/config.md calls the type.
Expression = Annotated[
    str,
    pydantic.AfterValidator(_parsed),
    Field(json_schema_extra={"format": "expression"}),
]
Column = Annotated[str, Field(min_length=1, json_schema_extra={"format": "column"})]
Columns = Annotated[list[Column], Field(min_length=1)]
Patterns = Annotated[list[str], Field(min_length=1)]
Character = Annotated[
    str,
    pydantic.AfterValidator(_character),
    Field(json_schema_extra={"format": "character", "minLength": 1, "maxLength": 1}),
]


def one(value: Any) -> Any:
    """A list of the text that may stand for it."""
    return [value] if isinstance(value, str) else value


def or_text(schema: dict[str, Any]) -> None:
    """Lets the JSON Schema of a mapping take the text that may stand for it, too."""
    mapping = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, mapping]
