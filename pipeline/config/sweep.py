"""The section `sweep`: the models that `python -m pipeline sweep` trains."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config.data import Section
from pipeline.config.sections import Named


class Range(Section):
    """Numbers from `low` to `high`: whole ones, if both are.

    `log`: evenly on a logarithmic scale. `step`: only `low`, `low` + `step` ...
    """

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int | float, Field(gt=0)] | None = None

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
    """Architectures x points of the search space x seeds.

    `architectures`: "all", or names of `tfmtl.models.names()`, or mappings of a `name`
    and `model.options` of its own. The config's own one has those of the config, the
    others their defaults. Without, the config's own alone.
    `seeds`: of each point, `train.seed`.
    `space`: {path of a key, as for --set: a `Range` or a list of values}. Keys that the
    data depend on cannot be swept.
    `trials`: points of the space for each architecture.
    """

    architectures: (
        Literal["all"] | Annotated[list[Named], Field(min_length=1)] | None
    ) = None
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    space: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = {}
    trials: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _check(self) -> "Sweep":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must differ. Received: {self.seeds}")
        return self
