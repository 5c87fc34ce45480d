"""The errors for everything the user of the pipeline can mend."""

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """A stage cannot go on: which rule was broken, what was found, what to do."""


class ConfigError(PipelineError):
    """The configuration cannot be used; the message says where and why."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or ""."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
