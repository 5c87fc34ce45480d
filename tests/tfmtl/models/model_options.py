"""Another value of every option of every architecture, and what a model then computes.

An option that is dropped on its way, be it in one of two places, moves a number. To
measure options one by one would take minutes, so as many are changed together as leave
each its effect; `groups` finds them when numbers are recorded.
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from effects import randomise, run, weighed, weighed_gradient
from quick_model import quick_model

import tfmtl

FEATURES = [
    tfmtl.Categorical("user", vocabulary_size=9, embedding_dim=4),
    tfmtl.Categorical("tab", vocabulary_size=4, oov_buckets=1, embedding_dim=3),
    tfmtl.Numeric("x"),
]
TASKS = [
    tfmtl.Task("click", tower=(4,)),
    tfmtl.Task("like", tower=(4,)),
]
INPUTS = {
    "user": tf.constant([1, 2, 3, 4, 5, 6]),
    "tab": tf.constant([1, 1, 2, 2, 3, 4]),
    "x": tf.constant([-1.0, 0.5, 0.3, 2.0, -0.4, 1.0]),
}
LABELS = {
    "click": np.float32([1, 1, 1, 0, 1, 0]),
    "like": np.float32([1, 0, 1, 0, 0, np.nan]),
}
NOISY = ["snr", "star", "home"]  # by noise, or by what normalises; not by dropout

# {option: another value}, and {architecture: {option: another value}} where it is not
# fit.
ANY_ARCHITECTURE = {
    "units": (6, 4),
    "activation": "sigmoid",
    "dropout": 0.5,
    "experts": 2,
    "expert_units": (6,),
    "shared_experts": 2,
    "task_experts": {"click": 1, "like": 2},
    "own_weight": 0.6,
    "penalty": 0.5,
    "heads": 1,
    "depth": 1,
    "public": ["dnn"],
    "private": [],
    "domain": "tab",
    "domain_features": ["x"],
    "prior_features": ["user"],
    "gamma": 3.0,
    "hidden_units": 3,
    "field_wise": True,
    "embedding_input": "gradient",
    "epnet": {"domain_features": ["tab"]},
    "ppnet": {"prior_features": ["user"]},
    "interactions": ["cross"],
}
ARCHITECTURES = {
    "asymmetric": {"source": "like", "fuse": "sum"},
    "sluice": {"units": (4, 4)},
    "snr": {"subnetworks": 2, "units": ((6,), (4,)), "connection": "aver"},
    "ml_mmoe": {"expert_units": ((6,), (4,))},
    "ple": {"expert_units": ((6,), (4,))},
    "adatt": {"shared_experts": 0, "expert_units": ((6,), (4,))},
    "stem": {"expert_units": ((6,), (4,))},
    "home": {
        "groups": {"one": ["click"], "other": ["like"]},
        "group_experts": 2,
        "task_experts": 2,
        "group_units": 6,
        "task_units": 4,
        "gate_rank": 2,
    },
    "dbmtl": {"parents": {}, "shared_units": (), "relation_units": (5,)},
    "escm2": {
        "chain": ["click"],
        "risk": "ips",
        "risk_weight": 0.1,
        "clip": 1.1,
        "imputation_units": (3,),
    },
    "esmm": {"chain": ["click"]},
    "aitm": {"calibrator": 2.0},
    "dcrnn": {
        "cross": "fields",
        "steps": 1,
        "state_units": 5,
        "cell": "lstm",
        "rank": 2,
        "bidirectional": True,
        "shared_ratio": 0.25,
        "share_mode": "layer",
        "task_recurrence": False,
        "product_head": True,
    },
    "dephn": {
        "mappings": ["raw"],
        "coefficient": "mul_abs",
        "correlation": "cosine",
        "interactions": None,  # the experts read fields one by one
    },
    "mt_phn": {
        "public": ["dnn", "dnn"],  # a softmax over one expert would be 1
        "mappings": ["raw", "cos"],
        "interactions": None,
    },
    "m2m": {"knowledge_units": 2, "depth": 2},
    "adasparse": {"form": "binary", "alpha": 2.0, "beta": 3.0, "epsilon": 0.95},
    "apg": {"rank": 2, "inner_units": 0},
    "sar_net": {"domain_experts": 2, "shared_experts": 1},
    "hinet": {"subexperts": 3, "subexpert_units": (6,)},
    "m3oe": {"domain_units": 6, "units": 4, "shared_experts": 2, "expert_units": 6},
    "star": {"auxiliary_units": (), "normalise": False},
    "shared_top": {"domain": None},  # an input like any other
}
# What an option needs beside it.
BESIDE = {
    ("dcrnn", "bidirectional"): {"cross": "fields"},
    ("escm2", "chain"): {"units": (4,)},
    # There are no imputations in inference, which the rule looks at.
    ("escm2", "risk_weight"): {"risk": "ips", "units": (4,)},
    ("escm2", "clip"): {"risk": "ips", "units": (4,)},
    ("esmm", "chain"): {"units": (4,)},  # else its products of probabilities vanish
}
# What cannot be changed together with the others.
APART = {"dcrnn": ("cross", "bidirectional")}


def other(name, option):
    """Returns another value of an option; None where there is none to try."""
    values = {**ANY_ARCHITECTURE, **ARCHITECTURES.get(name, {})}
    if option not in values:
        pytest.fail(f"Give another value of {name}'s {option!r} in model_options.py.")
    return values[option]


class Measured(NamedTuple):
    """What a model is and computes.

    Attributes:
        start: The weights that it starts with, arrays.
        inference: Its outputs with other weights, biases drawn too, one array a task.
        training: The same in training.
        learning: Loss and gradients, two numbers.
    """

    start: list
    inference: list
    training: list
    learning: list

    def fingerprint(self):
        """Returns a few numbers that any change of what is computed moves."""
        parts = enumerate([*self.inference, *self.training])
        start = sum(float(weighed(x, i)) for i, x in enumerate(self.start))
        return [*(float(weighed(x, i)) for i, x in parts), *self.learning, start]


def measure(name, **given):
    """Makes a model with the options given, and runs it."""
    keras.utils.set_random_seed(3)
    model = quick_model(name, FEATURES, TASKS, INPUTS, **given)
    start = [np.asarray(weight) for weight in model.trainable_weights]
    randomise(model)
    with tf.GradientTape() as tape, model.training_scope(INPUTS, LABELS):
        outputs = model(INPUTS, training=False)
        loss = model.compute_loss(INPUTS, LABELS, outputs)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    learning = [float(loss), weighed_gradient(gradients)]
    inference = [np.asarray(x, "float32") for x in tf.nest.flatten(outputs)]
    return Measured(start, inference, run(model, [INPUTS], True), learning)


@functools.cache
def unchanged(name):
    """Measures a model with its defaults."""
    return measure(name)


def changed(name, options, but=None):
    """Measures a model with other values of some options, but for one of them."""
    given = {}
    for option in options:
        given |= BESIDE.get((name, option), {})
    given |= {option: other(name, option) for option in options if option != but}
    return measure(name, **given)


def options_of(name):
    """Returns the options of an architecture that have another value."""
    options = [o for o in tfmtl.models.options(name) if o != "name"]
    return [option for option in options if other(name, option) is not None]


def without_effect(name, options):
    """Returns the options that might as well be left out of those changed together."""
    together = changed(name, options).fingerprint()
    rest = {option: changed(name, options, option).fingerprint() for option in options}
    return [option for option in options if same(rest[option], together)]


def groups(name):
    """Divides the options of an architecture: in a group each has its effect."""
    found, apart = [], APART.get(name, ())
    for is_apart in (False, True):
        left = [o for o in options_of(name) if (o in apart) == is_apart]
        while left:
            hidden = without_effect(name, left)
            if hidden == left:
                raise ValueError(f"{name}: {left} change nothing")
            found.append([option for option in left if option not in hidden])
            left = hidden
    return found


def same(fingerprint, recorded):
    """Tells whether a fingerprint is the one that was recorded."""
    if len(fingerprint) != len(recorded):
        return False
    return np.allclose(fingerprint, recorded, rtol=1e-3, atol=1e-4)
