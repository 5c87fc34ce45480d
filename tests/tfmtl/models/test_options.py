"""Every option of every architecture reaches all that it is for."""

import json
from pathlib import Path

import numpy as np
import pytest
from model_options import NOISY, changed, other, unchanged

import tfmtl
from tfmtl.models import base

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
every_architecture = pytest.mark.parametrize("name", tfmtl.models.names())
CASES = [
    (name, option)
    for name in tfmtl.models.names()
    for option in tfmtl.models.options(name)
    if option != "name"
]


def _differ(a, b):
    """Tells whether two models start or compute differently."""
    pairs = [*zip(a.start, b.start, strict=False), (a.fingerprint(), b.fingerprint())]
    return len(a.start) != len(b.start) or not all(
        np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=1e-5, atol=1e-6)
        for x, y in pairs
    )


def _is_recorded(measured, name, option=""):
    recorded = json.loads(FINGERPRINTS.read_text()).get(name, {}).get(option)
    assert recorded, f"{name} {option}: run record_fingerprints.py"
    np.testing.assert_allclose(measured.fingerprint(), recorded, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "option"), CASES)
def test_every_option_matters_wherever_it_is_used(name, option):
    if other(name, option) is None:
        return
    measured = changed(name, option)
    assert _differ(measured, unchanged(name, option))
    # A difference is not all: an option may be dropped in one of two places.
    _is_recorded(measured, name, option)
    if option == "dropout":
        assert np.allclose(measured.inference, unchanged(name).inference)
        for one, again in zip(measured.inference, measured.training, strict=True):
            assert not np.allclose(one, again[:, :1]), "one task has no dropout"


@every_architecture
def test_training_differs_where_there_is_noise_and_only_there(name):
    measured = unchanged(name)
    for one, again in zip(measured.inference, measured.training, strict=True):
        # Behind a prediction may stand what its loss reads.
        assert np.allclose(one, again[:, :1]) == (name not in NOISY)


@every_architecture
def test_the_formula_is_the_one_recorded(name):
    _is_recorded(unchanged(name), name)


def test_an_option_without_another_value_fails_the_rule():
    with pytest.raises(pytest.fail.Exception, match="another value of ple's 'new'"):
        other("ple", "new")


def test_an_option_dropped_in_one_of_two_places_fails_the_rule(monkeypatch):
    make = base.make_ppnet
    monkeypatch.setattr(
        base, "make_ppnet", lambda given, *rest: make({**given, "gamma": 2.0}, *rest)
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_every_option_matters_wherever_it_is_used("pepnet", "gamma")
