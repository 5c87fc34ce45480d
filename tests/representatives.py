"""Which of many a long contract is tried on; `make test-all` tries it on the rest.

What is quick to try, such as that every option has its effect, is tried on all.
"""

import pytest

import tfmtl

# One of each mechanism: one network for all, experts by levels, drawn connections, a
# product of probabilities, recurrence over fields, gates with a gradient of their own,
# scaled layers, weights and norms by domain, weights that are generated.
ARCHITECTURES = (
    "shared_bottom",
    "ple",
    "snr",
    "esmm",
    "dcrnn",
    "dephn",
    "pepnet",
    "star",
    "apg",
)


def fast(cases, chosen):
    """Returns all cases for `parametrize`, those that are not chosen marked as slow.

    Args:
        cases: Iterable. Of an argument each, or of tuples of several.
        chosen: Some of the cases.
    """
    return [
        case
        if case in chosen
        else pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow
        )
        for case in cases
    ]


architectures = pytest.mark.parametrize(
    "name", fast(tfmtl.models.names(), ARCHITECTURES)
)
