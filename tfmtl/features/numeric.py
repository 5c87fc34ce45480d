"""One number a row: as it is, scaled, or embedded."""

import dataclasses
import math

import keras

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.features.boundaries import check_boundaries


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Numeric(Declaration):
    """One number a row, used as it is, or embedded by where it lies between boundaries.

    Used as it is, it should be scaled: before (the pipeline does), or by a
    `normalization`. A model that is trained on numbers far beyond 10 warns once. NaN,
    inf and -inf are missing, which is 0, the mean of a scaled number. So is what
    float32 cannot hold; what float16 cannot hold, under such a policy, is the largest
    number that it does.

    With `boundaries` its scale does not matter, and missing is a vector of its own: see
    `tfmtl.layers.PiecewiseLinear`. Worth it where single values or ranges mean
    something, such as an amount that is mostly 0. With `autodis`, a scaled number is
    embedded without boundaries: see `tfmtl.layers.AutoDis`.

    Args:
        name: String. The input's key.
        boundaries: Tuple of ascending floats, of the training split; see
            `tfmtl.quantile_boundaries`. Defaults to none: the number as it is.
        embedding_dim: Integer. Width of the embedding, with `boundaries` or `autodis`.
            Defaults to 16 then.
        normalization: Tuple (mean, std) of the training split: the number becomes
            (number - mean) / std, also when served. Defaults to none.
        autodis: Integer. How many meta-embeddings AutoDis mixes the embedding of.
            Defaults to none.

    Example:
    >>> Numeric("age", boundaries=(18, 30, 65), embedding_dim=8).embedding_dim
    8
    >>> Numeric("price", normalization=(31.5, 12.0)).is_scaled
    True
    """

    name: str
    boundaries: tuple[float, ...] | None = None
    embedding_dim: int | None = None
    normalization: tuple[float, float] | None = None
    autodis: int | None = None

    def __post_init__(self):
        _errors.check_feature_name(self.name)
        if self.normalization is not None:
            self._check_normalization()
        if self.boundaries is None and self.autodis is None:
            if self.embedding_dim is not None:
                raise ValueError(
                    f"embedding_dim of {self.name!r} needs boundaries or autodis. "
                    f"Received: {self.embedding_dim!r} without."
                )
            return
        if self.autodis is None:
            checked = check_boundaries(f"boundaries of {self.name!r}", self.boundaries)
            object.__setattr__(self, "boundaries", checked)
        elif self.boundaries is not None:
            raise ValueError(
                f"Numeric({self.name!r}) takes boundaries or autodis, not both. Leave "
                "one out."
            )
        else:
            _errors.check_positive(f"autodis of {self.name!r}", self.autodis)
        if self.embedding_dim is None:
            object.__setattr__(self, "embedding_dim", 16)
        _errors.check_positive(f"embedding_dim of {self.name!r}", self.embedding_dim)

    def _check_normalization(self):
        try:
            mean, std = (float(number) for number in self.normalization)
        except (TypeError, ValueError):
            mean, std = math.nan, math.nan
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ValueError(
                f"normalization of {self.name!r} must be (mean, std), finite numbers, "
                f"std above 0. Received: {self.normalization!r}."
            )
        if self.boundaries is not None:
            raise ValueError(
                f"Numeric({self.name!r}) takes boundaries or a normalization, not "
                "both: between boundaries, scale does not matter. Leave it out."
            )
        object.__setattr__(self, "normalization", (mean, std))

    @property
    def is_scaled(self) -> bool:
        """Whether the model sees a number of known size, whatever the column's."""
        return self.boundaries is not None or self.normalization is not None

    shape = ()
    dtype = "float32"
