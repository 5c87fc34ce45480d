"""EPNet and PPNet from options, around any architecture."""

import inspect

from tfmtl import _errors
from tfmtl.features import check_domain
from tfmtl.layers.structures.epnet import EPNet
from tfmtl.layers.structures.ppnet import PPNet


def make_epnet(options: dict | None, features: list) -> EPNet | None:
    """Returns the layer that scales the embedding, or None without options.

    Args:
        options: Dict of arguments of `tfmtl.layers.EPNet`, or None.
        features: List of features of the model.
    """
    if options is None:
        return None
    _check_options("epnet", options, EPNet, ())
    _check_features("domain_features", options, features)
    return EPNet(**options, name="epnet")


def make_ppnet(options: dict | None, features: list, tasks: list) -> PPNet | None:
    """Returns the layer that scales the towers' hidden units, or None without options.

    Args:
        options: Dict of arguments of `tfmtl.layers.PPNet`, or None. `units`, if given,
            are hidden layers of every task below those of its tower.
        features: List of features of the model.
        tasks: List of `Task`, whose towers the layer replaces up to their logits.
    """
    if options is None:
        return None
    _check_options("ppnet", options, PPNet, ("tasks",))
    _check_features("prior_features", options, features)
    below = _errors.check_units("units of ppnet", options.get("units", ()))
    units = {task.name: (*below, *task.tower) for task in tasks}
    return PPNet(list(units), **{**options, "units": units}, name="ppnet")


def with_domain(features: list, domain: str | None, names) -> list[str]:
    """Returns names of features, that of the domain first.

    Args:
        features: List of features, of which the domain must be a categorical one.
        domain: String, or None for a single domain.
        names: List of names of features.
    """
    check_domain(features, domain)
    if domain is None or isinstance(names, str):  # a string is refused by the layer
        return names
    return list(dict.fromkeys([domain, *names]))


def _check_options(what, options, layer, ours) -> None:
    if not isinstance(options, dict):
        raise ValueError(f"{what} must be a dict of options. Received: {options!r}.")
    parameters = inspect.signature(layer.__init__).parameters
    known = [name for name in parameters if name not in ("self", "kwargs", *ours)]
    for option in options:
        _errors.check_choice(f"An option of {what}", option, known)


def _check_features(key, options, features) -> None:
    names = options.get(key, ())
    if not isinstance(names, str):  # a string is refused by the layer
        for name in names:
            _errors.check_choice(key, name, [feature.name for feature in features])
