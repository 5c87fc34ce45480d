"""What a model takes in: one declaration a feature."""

from tfmtl.features.categorical import (
    Categorical,
    Feature,
    Numeric,
    Sequence,
    check_domain,
    check_features,
    column_of,
)

__all__ = [
    "Categorical",
    "Feature",
    "Numeric",
    "Sequence",
    "check_domain",
    "check_features",
    "column_of",
]
