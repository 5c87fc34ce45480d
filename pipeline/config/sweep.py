"""The section `sweep`: the models that `python -m pipeline sweep` trains."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config.sections import Named
from pipeline.config.values import Section


class Range(Section):
    """Numbers from `low` to `high`: whole ones, if both are."""

    low: int | float
    """The least."""
    high: int | float
    """The greatest."""
    log: bool = False
    """Whether they lie evenly on a logarithmic scale."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Only `low`, `low` + `step` ... are taken."""

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(
                f"`low` must be below `high`. Received: {self.low}, {self.high}"
            )
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("with `log`, `low` is above 0, and there is no `step`")
        return self


class Sweep(Section):
    """Architectures x points of the search space x seeds; see docs/sweep.md."""

    architectures: (
        Literal["all"] | Annotated[list[Named], Field(min_length=1)] | None
    ) = None
    """Those that are trained, with `model.options` of their own; the config's own has
    those of the config. Without, it alone.
    """
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    """`train.seed` of each point."""
    space: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = {}
    """{path of a key, as for --set: a range or a list of values}; keys that the data
    depend on cannot be swept.
    """
    trials: Annotated[int, Field(ge=1)] = 10
    """Points of the space for each architecture."""

    @model_validator(mode="after")
    def _check(self) -> "Sweep":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must differ. Received: {self.seeds}")
        return self
