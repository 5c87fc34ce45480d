"""Every option of every architecture reaches all that it is for."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from model_options import (
    NOISY,
    changed,
    options_of,
    other,
    same,
    unchanged,
    without_effect,
)

import tfmtl
from tfmtl.models import base

KERAS = tuple(map(int, keras.version().split(".")[:2]))
RECORDED = json.loads(Path(__file__).with_name("fingerprints.json").read_text())
CASES = [(name, together) for name, parts in RECORDED.items() for together in parts]
every_architecture = pytest.mark.parametrize("name", tfmtl.models.names())
every_group = pytest.mark.parametrize(("name", "together"), [c for c in CASES if c[1]])


@pytest.mark.parametrize(("name", "together"), CASES)
def test_the_formula_is_the_one_recorded(name, together):
    """A difference is not all: an option may be dropped in one of two places."""
    options = together.split("+") if together else []
    measured = changed(name, options) if options else unchanged(name)
    found, recorded = measured.fingerprint(), RECORDED[name][together]
    if name in ("dephn", "mt_phn") and KERAS < (3, 13):
        # The last is of the initial weights, and Keras's attention began with smaller.
        found, recorded = found[:-1], recorded[:-1]
    assert same(found, recorded), f"{found}, but record_fingerprints.py had {recorded}"


@every_architecture
def test_every_option_is_recorded(name):
    recorded = [option for together in RECORDED[name] for option in together.split("+")]
    assert sorted(filter(None, recorded)) == sorted(options_of(name))


@pytest.mark.slow  # and when they are recorded
@every_group
def test_every_option_matters_among_those_changed_with_it(name, together):
    assert not without_effect(name, together.split("+"))


@every_architecture
def test_training_differs_where_there_is_noise_and_only_there(name):
    plain = unchanged(name)
    for one, again in zip(plain.inference, plain.training, strict=True):
        # Behind a prediction may stand what its loss reads.
        assert np.allclose(one, again[:, :1]) == (name not in NOISY)
    if "dropout" not in options_of(name):
        return
    noisy = changed(name, ["dropout"])
    assert np.allclose(noisy.inference, plain.inference)
    for one, again in zip(noisy.inference, noisy.training, strict=True):
        assert not np.allclose(one, again[:, :1]), "one task has no dropout"


def test_an_option_without_another_value_fails_the_rule():
    with pytest.raises(pytest.fail.Exception, match="another value of ple's 'new'"):
        other("ple", "new")


def test_an_option_dropped_in_one_of_two_places_fails_the_rule(monkeypatch):
    make = base.make_ppnet
    monkeypatch.setattr(
        base, "make_ppnet", lambda given, *rest: make({**given, "gamma": 2.0}, *rest)
    )
    (together,) = (key for key in RECORDED["pepnet"] if "gamma" in key.split("+"))
    with pytest.raises(AssertionError, match="but record_fingerprints.py had"):
        test_the_formula_is_the_one_recorded("pepnet", together)


def test_an_option_that_is_dropped_is_not_recorded(monkeypatch):
    make = base.make_ppnet
    monkeypatch.setattr(
        base, "make_ppnet", lambda given, *rest: make({**given, "gamma": 2.0}, *rest)
    )
    assert without_effect("ppnet", ["gamma", "units"]) == ["gamma"]
