"""What the features of one model must be together."""

import dataclasses
import re

from tfmtl import _errors
from tfmtl.features.categorical import Categorical
from tfmtl.features.multivalued import Multivalued
from tfmtl.features.numeric import Numeric
from tfmtl.features.sequence import (
    NumericSequence,
    Sequence,
    check_category,
    check_sequence,
    check_side_field,
    side_fields,
)
from tfmtl.features.vector import Vector

Feature = Categorical | Multivalued | Numeric | NumericSequence | Sequence | Vector


def column_of(name: str, inputs):
    """Returns a column of {name: column} that a feature reads; raises without it."""
    if name not in inputs:
        raise ValueError(
            f"Feature {name!r} is missing from the inputs."
            f"{_errors.nearest(name, inputs)}"
        )
    return inputs[name]


def input_specs(features: list) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns {input: (shape of one row, dtype)} of all that features read.

    Example:
    >>> tags = Multivalued("tags", num_buckets=9, max_length=8, weights="tag_weights")
    >>> input_specs([tags])
    {'tags': ((8,), 'int64'), 'tag_weights': ((8,), 'float32')}
    """
    specs = {}
    for feature in features:
        specs[feature.name] = (feature.shape, feature.dtype)
        if weights := getattr(feature, "weights", None):
            specs[weights] = (feature.shape, "float32")
    return specs


def of_one_id(features: list) -> dict[str, Categorical]:
    """Returns {name: feature} of those that are one id a row, as a domain is."""
    return {f.name: f for f in features if isinstance(f, Categorical) and not f.shape}


def check_features(features: list) -> None:
    """Raises a ValueError unless `features` can feed a model together."""
    if not features:
        raise ValueError("A model needs at least one feature. Received none.")
    for feature in features:
        if not isinstance(feature, Feature):
            raise ValueError(
                "A feature must be a Categorical, Multivalued, Numeric, "
                f"NumericSequence, Sequence or Vector. Received: {feature!r}."
            )
    inputs = [name for feature in features for name in input_specs([feature])]
    _errors.check_unique("Features", inputs)
    served = {}  # {name of an input for serving: the first one with it}
    for name in inputs:
        other = served.setdefault(re.sub(r"\W", "_", name).lower(), name)
        if other != name:
            raise ValueError(
                "Names of features must differ in more than case, '.', '-' and '_', "
                f"for a server cannot tell them apart. Received: {other!r} and "
                f"{name!r}."
            )
    tables = {f.name: f for f in features if isinstance(f, Categorical)}
    first = {}  # {table: the first feature with it}
    for feature in tables.values():
        other = first.setdefault(feature.table_name, feature)
        if _table(feature) != _table(other):
            raise ValueError(
                f"Features of one table must declare the same but for their names. "
                f"Received: {other} and {feature}."
            )
    sequences = {f.name: f for f in features if isinstance(f, Sequence)}
    for feature in features:
        if isinstance(feature, Sequence):
            check_sequence(feature, tables)
        if getattr(feature, "side_of", None):
            check_side_field(feature, sequences)
    for name, fields in side_fields(features).items():
        check_category(sequences[name], fields, tables)


def _table(feature: Categorical) -> list:
    """What features of one table declare alike."""
    own = (f.name for f in dataclasses.fields(Categorical))
    return [getattr(feature, name) for name in own if name not in ("name", "table")]


def check_domain(
    features: list, domain: str | None, what: str = "domain"
) -> Categorical | None:
    """Returns the feature whose ids are the domains; raises if there is none.

    Args:
        features: List of features.
        domain: String. Name of a categorical feature; None is a single domain.
        what: String. What names it, for the message.
    """
    if domain is None:
        return None
    found = of_one_id(features)
    if domain not in found:
        raise ValueError(
            f"{what} must be the name of a Categorical among the features. Received: "
            f"{domain!r}.{_errors.nearest(domain, found)}"
        )
    if found[domain].num_hashes > 1 or found[domain].capacity is not None:
        raise ValueError(
            f"{what} must be a Categorical with one row an id that stays, so with "
            f"neither `capacity` nor several hashes. Received: {found[domain]}."
        )
    return found[domain]
