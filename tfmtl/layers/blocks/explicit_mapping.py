"""Explicit mapping: fixed functions of an expert's output beside the output itself."""

from keras import ops

from tfmtl import _errors

MAPPINGS = {"raw": lambda x: x, "sin": ops.sin, "cos": ops.cos}


def check_mappings(mappings) -> list[str]:
    """Returns the names as a list; raises unless each is a mapping, given once."""
    if isinstance(mappings, str):
        raise ValueError(f"mappings must be a list of names. Received: {mappings!r}.")
    mappings = list(mappings)
    if not mappings:
        raise ValueError("At least one mapping is needed. Received none.")
    for name in mappings:
        _errors.check_choice("Each of mappings", name, MAPPINGS)
    _errors.check_unique("Mappings", mappings)
    return mappings


def explicit_mapping(x, mappings=("raw", "sin")) -> list:
    """Returns f_p(x) for each mapping f_p, so that f(x) ~ sum_p w_p f_p(x).

    DEPHN's eq. 3: a task picks, by gates of its own, among several views of a shared
    expert. The raw mapping (RM) carries the trend, the trigonometric one (TM) what
    oscillates around it, as terms of a Taylor and a Fourier series do.

    Reconstruction: the paper names RM and TM but gives neither formula. "raw" is x
    itself; "sin" is our TM, since sin(0) = 0 leaves a silent unit silent. "cos" may be
    added.

    Args:
        x: Tensor of any shape.
        mappings: Strings out of "raw", "sin" and "cos". Defaults to ("raw", "sin").

    Returns:
        A list of tensors of the shape of `x`, one a mapping.

    Raises:
        ValueError: If a mapping is unknown.

    Example:
    >>> raw, sine = explicit_mapping(ops.array([0.0, 1.0]))
    >>> [round(float(value), 3) for value in sine]
    [0.0, 0.841]

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519), eq. 3 and 4.
    """
    return [MAPPINGS[name](x) for name in check_mappings(mappings)]
