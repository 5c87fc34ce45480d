"""What a model takes in: one declaration a feature.

Ids are integers, ready for a table: id 0 stands for "missing or unknown" and
pads sequences. The pipeline's transform writes them so; with other ids, start the
vocabulary at 1. Every integer type will do, uint64 by its 64 bits; of floats, whole
numbers that their type holds exactly, NaN being missing (`tfmtl.ids.as_integers`).
"""

from tfmtl.features.boundaries import quantile_boundaries
from tfmtl.features.categorical import Categorical
from tfmtl.features.checks import (
    Feature,
    check_domain,
    check_features,
    column_of,
    input_specs,
    of_one_id,
)
from tfmtl.features.multivalued import Multivalued
from tfmtl.features.numeric import Numeric
from tfmtl.features.sequence import NumericSequence, Sequence, side_fields
from tfmtl.features.vector import Vector

__all__ = [
    "Categorical",
    "Feature",
    "Multivalued",
    "Numeric",
    "NumericSequence",
    "Sequence",
    "Vector",
    "check_domain",
    "check_features",
    "column_of",
    "input_specs",
    "of_one_id",
    "quantile_boundaries",
    "side_fields",
]
