"""Paths that name a day or an hour, such as logs/%Y-%m-%d/*.parquet."""

import dataclasses
import datetime
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.config.data import Data

_DIGITS = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2}
_CODE = re.compile("|".join(_DIGITS))
_STEPS = {  # {how it is written: how long it is}
    "%Y-%m-%d": datetime.timedelta(days=1),
    "%Y-%m-%dT%H": datetime.timedelta(hours=1),
}


@dataclasses.dataclass(frozen=True, order=True)
class Period:
    """A day or an hour, whose logs come together.

    Args:
        start: When it begins.
        form: How it is written, "%Y-%m-%d" or "%Y-%m-%dT%H".
    """

    start: datetime.datetime
    form: str

    def __str__(self) -> str:
        return self.start.strftime(self.form)

    def before(self, count: int) -> "Period":
        """The period that is so many earlier."""
        return Period(self.start - count * _STEPS[self.form], self.form)

    def path(self, pattern: str) -> str:
        """A path with the period in the place of its codes.

        Example:
            >>> parse("2024-05-02").path("logs/%Y-%m-%d/%H.csv")
            'logs/2024-05-02/[0-9][0-9].csv'
        """
        for code in _CODE.findall(self.form):
            pattern = pattern.replace(code, self.start.strftime(code))
        return all_periods(pattern)


def parse(text: str) -> Period:
    """Reads a day or an hour.

    Raises:
        PipelineError: It is neither.

    Example:
        >>> str(parse("2024-03-01").before(1)), str(parse("2024-03-01T00").before(1))
        ('2024-02-29', '2024-02-29T23')
    """
    for form in _STEPS:
        try:
            period = Period(datetime.datetime.strptime(text, form), form)
        except ValueError:
            continue
        if str(period) == text:
            return period
    raise PipelineError(
        f"a day is written as 2024-05-02, an hour as 2024-05-02T13. Received: {text!r}"
    )


def all_periods(pattern: str) -> str:
    """The glob of a path with whatever day and hour.

    Example:
        >>> all_periods("logs/day=%d/*")
        'logs/day=[0-9][0-9]/*'
    """
    return _CODE.sub(lambda code: "[0-9]" * _DIGITS[code[0]], pattern)


def of_periods(data: "Data", periods: Sequence[Period]) -> "Data":
    """The `data` section, all of whose paths are of these periods.

    Args:
        data: The section.
        periods: The first ones first.

    Raises:
        PipelineError: The paths of the impressions do not name the period.
    """
    logs = data.logs if isinstance(data.logs, dict) else {None: data.logs or []}
    wanted = _CODE.findall(periods[0].form)[-1]
    for pattern in (pattern for patterns in logs.values() for pattern in patterns):
        if wanted not in pattern:
            raise PipelineError(
                "data.logs: the paths must name the day, and for hours the hour, as "
                f"in logs/%Y-%m-%d/%H/*. Received: {pattern!r}"
            )
    if data.logs is None:
        raise PipelineError("--day needs `data.logs`. Received: data.source")
    found = {split: _paths(patterns, periods) for split, patterns in logs.items()}
    others = {
        key: [
            part.model_copy(update={"logs": _paths(part.logs, periods)})
            for part in getattr(data, key)
        ]
        for key in ("tables", "actions")
    }
    return data.model_copy(update={"logs": found.get(None, found), **others})


def _paths(patterns: Iterable[str], periods: Sequence[Period]) -> list[str]:
    return list(dict.fromkeys(p.path(pattern) for pattern in patterns for p in periods))
