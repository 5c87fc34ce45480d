"""What the features of one model must be together."""

import dataclasses
import re

from tfmtl import _errors
from tfmtl.features.categorical import Categorical
from tfmtl.features.numeric import Numeric
from tfmtl.features.sequence import Sequence, check_sequence

Feature = Categorical | Numeric | Sequence


def column_of(feature: Feature, inputs):
    """Returns a feature's column of {name: column}; raises if it is not there."""
    if feature.name not in inputs:
        raise ValueError(
            f"Feature {feature.name!r} is missing from the inputs."
            f"{_errors.nearest(feature.name, inputs)}"
        )
    return inputs[feature.name]


def check_features(features: list) -> None:
    """Raises a ValueError unless `features` can feed a model together."""
    if not features:
        raise ValueError("A model needs at least one feature. Received none.")
    for feature in features:
        if not isinstance(feature, Feature):
            raise ValueError(
                "A feature must be a Categorical, Numeric or Sequence. Received: "
                f"{feature!r}."
            )
    _errors.check_unique("Features", [feature.name for feature in features])
    served = {}  # {name of an input for serving: the first feature with it}
    for feature in features:
        other = served.setdefault(re.sub(r"\W", "_", feature.name).lower(), feature)
        if other is not feature:
            raise ValueError(
                "Names of features must differ in more than case, '.', '-' and '_', "
                f"for a server cannot tell them apart. Received: {other.name!r} and "
                f"{feature.name!r}."
            )
    tables = {f.name: f for f in features if isinstance(f, Categorical)}
    first = {}  # {table: the first feature with it}
    for feature in tables.values():
        other = first.setdefault(feature.table_name, feature)
        same = dataclasses.replace(feature, name=other.name, table=other.table)
        if same != other:
            raise ValueError(
                f"Features of one table must declare the same but for their names. "
                f"Received: {other} and {feature}."
            )
    for feature in features:
        if isinstance(feature, Sequence):
            check_sequence(feature, tables)


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
    found = {f.name: f for f in features if isinstance(f, Categorical)}
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
