"""Strategies on the loss, against numbers worked out by hand."""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import two_parameters as two
from representatives import fast

import tfmtl
from tfmtl.training import DWA, Decay, Fixed, Uncertainty, WeightingEpochs, weighting

NAN = float("nan")


def _fit(model, epochs, data=None, **options):
    inputs, labels = data or two.batch(labels=(1, 1))
    options = {"batch_size": 2, "shuffle": False, "verbose": 0, **options}
    return model.fit(inputs, labels, epochs=epochs, **options).history


def _close(found, expected, **tolerance):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-5, **tolerance})


def test_fixed_is_the_default_and_logs_nothing():
    model = two.model("fixed", rate=0.25, weights=(1, 0.5))
    history = _fit(model, 1)
    # theta_k -= rate weight_k 2 (theta_k - 1)
    _close(model.theta, [0.5, 0.25])
    _close(history["loss"], [1.5])
    assert not any("weight" in key for key in history)
    model.compile()
    assert isinstance(model.loss_weighting, Fixed)


@pytest.mark.filterwarnings("ignore:No row has a label")
@pytest.mark.parametrize("name", ["fixed", "uncertainty", "pcgrad"])
def test_the_loss_of_an_epoch_weighs_batches_by_their_rows(name):
    """A last one that is small counts for less, in training and in validation."""
    model = two.model(name, rate=0.0)
    p = np.ones(3, "float32")
    data = {"p": p, "q": 0 * p}, {"u": np.float32([1, 1, 4]), "v": np.full(3, NAN)}
    history = _fit(model, 1, data, validation_data=data, validation_batch_size=2)
    expected = (2 * 1 + 16) / 3
    scale = 0.5 if name == "uncertainty" else 1
    _close(history["loss"], [scale * expected])
    for key in ("u_loss", "val_u_loss", "val_loss"):
        _close(history[key], [expected])


def test_decay_by_epoch():
    model = two.model(Decay({"u": 0.5}), rate=0.25)
    history = _fit(model, 3)
    # The error shrinks by 1 - w/2 an epoch.
    _close(model.theta, [1 - 0.5 * 0.75 * 0.875, 1 - 0.5**3])
    _close(history["u_weight"], [1, 0.5, 0.25])
    _close(history["v_weight"], [1, 1, 1])


def test_decay_goes_on_from_the_initial_epoch():
    history = _fit(two.model(Decay(0.5), weights=(3, 1)), 5, initial_epoch=3)
    _close(history["u_weight"], [3 / 8, 3 / 16])
    _close(history["v_weight"], [1 / 8, 1 / 16])


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_decay_by_step(steps_per_execution):
    model = two.model(
        Decay(0.5, by="step"),
        rate=0.25,
        run_eagerly=False,
        steps_per_execution=steps_per_execution,
    )
    inputs, labels = two.batch(labels=(1, 1))
    data = [{k: np.tile(x, 2) for k, x in part.items()} for part in (inputs, labels)]
    history = _fit(model, 2, data)  # 4 steps
    error = 0.5 * 0.75 * (1 - 0.25 / 2) * (1 - 0.125 / 2)
    _close(model.theta, [1 - error] * 2)
    _close(history["u_weight"], [1 / 4, 1 / 16])


def test_uncertainty():
    strategy = Uncertainty()
    model = two.model(strategy, kinds=("regression", "binary"))
    data = two.batch(labels=(-0.5, 1))
    model.train_on_batch(*data)
    # u: L = 1/4, m = 1/2, gradient 1; v: p = 1/2, L = log 2, m = 1, gradient -1/2.
    _close(model.theta, [-0.05, 0.05])
    s = [-0.1 * (0.5 - 0.5 * 0.25), -0.1 * (0.5 - math.log(2))]
    _close(strategy.log_variance, s)
    model.train_on_batch(*data)
    # u: error 0.45; v: p = sigmoid(0.05).
    m = [0.5 * math.exp(-s[0]), math.exp(-s[1])]
    p = 1 / (1 + math.exp(-0.05))
    _close(model.theta, [-0.05 - 0.1 * m[0] * 0.9, 0.05 + 0.1 * m[1] * (1 - p)])
    s[0] -= 0.1 * (0.5 - m[0] * 0.45**2)
    s[1] -= 0.1 * (0.5 + m[1] * math.log(p))
    _close(strategy.log_variance, s)
    expected = {"u": 0.5 * math.exp(-s[0]), "v": math.exp(-s[1])}
    assert strategy.report() == pytest.approx(expected, rel=1e-5)


def test_uncertainty_keeps_the_meaning_of_a_tasks_weight():
    strategies = [Uncertainty(), Uncertainty()]
    thetas = []
    for strategy, weight in zip(strategies, (1, 3), strict=True):
        model = two.model(strategy, weights=(1, weight))
        logs = model.train_on_batch(*two.batch(), return_dict=True)
        _close(logs["loss"], 0.125 + weight * 0.125)
        thetas.append(model.theta)
    _close(thetas[1], thetas[0] * [1, 3])
    s = [strategy.log_variance.numpy() for strategy in strategies]
    _close(s[1], s[0] * [1, 3])


def test_dwa():
    model = two.model(DWA(), rate=0.25, weights=(1, 0.5))
    history = _fit(model, 4, validation_data=two.batch(labels=(9, 9)))
    # The errors shrink by 1/2 and 3/4, so the losses of the first two epochs are
    # 1, 1/4 and 1, 9/16. Validation, in between, is not mistaken for training.
    m = 2 / (1 + math.exp((9 / 16 - 1 / 4) / 2))
    _close(history["u_weight"][:3], [1, 1, m])
    _close(history["v_weight"][:3], [0.5, 0.5, (2 - m) / 2])
    errors = [0.25 * (1 - m / 2), 9 / 16 * (1 - (2 - m) / 4)]
    ratios = [1 / 4, 9 / 16]  # of epochs 2 and 1
    _close(history["u_loss"][3], errors[0] ** 2)
    m = 2 / (1 + math.exp((ratios[1] - ratios[0]) / 2))
    _close(history["u_weight"][3], m)


def test_dwa_of_a_single_task():
    model = tfmtl.models.get("shared_bottom")([tfmtl.Numeric("p")], [tfmtl.Task("u")])
    model.compile(loss_weighting="dwa")
    ones = np.ones(4, "float32")
    history = model.fit({"p": ones}, {"u": ones}, epochs=3, verbose=0).history
    assert history["u_weight"] == [1, 1, 1]


def test_dwa_weighs_batches_by_their_rows():
    strategy = DWA(temperature=1)
    strategy.start([tfmtl.Task("u"), tfmtl.Task("v")], [])
    epochs = [
        [((1.0, 4.0), (3, 1)), ((5.0, 0.0), (1, 0))],  # means 2 and 4
        [((1.0, 3.0), (2, 2))],
    ]
    for epoch, steps in enumerate(epochs):
        strategy.begin_epoch(epoch)
        for losses, rows in steps:
            strategy.update(
                *({k: np.float32(x) for k, x in zip("uv", values, strict=True)}
                  for values in (losses, rows))
            )  # fmt: skip
    strategy.begin_epoch(2)
    a, b = math.exp(1 / 2), math.exp(3 / 4)
    expected = {"u": 2 * a / (a + b), "v": 2 * b / (a + b)}
    assert strategy.report() == pytest.approx(expected, rel=1e-5)
    strategy.begin_epoch(2)  # an epoch without a step says nothing
    assert strategy.report() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", tfmtl.training.weightings())
def test_a_task_without_rows_disturbs_nothing(name):
    models = [two.model(name), two.model(name)]
    inputs, labels = two.batch()
    for model in models:  # a step with rows of both, so that there is a state
        model.train_on_batch(inputs, labels)
    before = [w.numpy() for w in models[0].loss_weighting.weights]
    empty = {**labels, "v": np.float32([NAN, NAN])}
    logs = models[0].train_on_batch(inputs, empty, return_dict=True)
    assert all(np.isfinite(logs[key]) for key in ("loss", "u_loss", "v_loss"))
    models[1].train_on_batch(inputs, labels)
    # u has learnt as if v were there, and v nothing.
    _close(models[0].theta[0], models[1].theta[0])
    # CAGrad's step is (1 + c) / (1 + c^2) times the mean, with c = 1/2.
    _close(models[0].theta[1], {"uncertainty": -0.05, "cagrad": -0.12}.get(name, -0.1))
    strategy = models[0].loss_weighting
    _check_states_of_v(strategy, before)
    # A batch without any row changes no weight.
    theta = models[0].theta
    models[0].train_on_batch(inputs, {k: np.float32([NAN, NAN]) for k in "uv"})
    _close(models[0].theta, theta)
    _check_states_of_v(strategy, before)
    assert all(np.isfinite(w.numpy()).all() for w in strategy.weights)


def _check_states_of_v(strategy, before):
    of_a_step = ("before", "after", "rows") if type(strategy).__name__ == "FAMO" else ()
    for old, variable in zip(before, strategy.weights, strict=True):
        if variable.name in of_a_step:
            continue
        if old.shape[-1:] == (2,):  # one column a task
            _close(variable.numpy()[..., 1], old[..., 1])


# With a state of epochs, one that is learnt on the loss, and one learnt on gradients.
RESUMED = ("dwa", "uncertainty", "gradnorm")


class Stopped(NamedTuple):
    """A training after two epochs."""

    data: tuple
    model: keras.Model
    checkpoints: tfmtl.training.Checkpoints
    folder: Path  # with model.keras and model.weights.h5


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Gives a stopped training under each strategy. No test may change its model."""

    @functools.cache
    def get(name):
        folder, data = tmp_path_factory.mktemp(name), two.batch((1.0, 0.5), (-0.5, 2.0))
        model = two.model(name)
        checkpoints = tfmtl.training.Checkpoints(folder / "epochs", "loss")
        _fit(model, 2, data, callbacks=[checkpoints])
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        return Stopped(data, model, checkpoints, folder)

    return get


@pytest.mark.parametrize("name", fast(tfmtl.training.weightings()[1:], RESUMED))
def test_a_resumed_training_goes_on_as_if_nothing_had_happened(name, stopped):
    data, parts, checkpoints, folder = stopped(name)
    whole = two.model(name)
    history = _fit(whole, 3, data)

    weights = two.model(name)  # another process
    again = tfmtl.training.Checkpoints(folder / "epochs", "loss")
    _fit(weights, 3, data, initial_epoch=again.resume(weights))
    model = keras.models.load_model(folder / "model.keras")
    assert type(model.loss_weighting) is type(whole.loss_weighting)
    assert model.loss_weighting is not parts.loss_weighting
    model.run_eagerly = True
    resumed = _fit(model, 3, data, initial_epoch=2)
    _close(weights.theta, whole.theta, atol=1e-6)
    _close(model.theta, whole.theta, atol=1e-6)
    for key in ("u_weight", "v_weight"):
        _close(resumed[key], history[key][2:], atol=1e-6)
        # Callbacks see the weights too.
        _close(checkpoints.history[1][key], history[key][1], atol=1e-6)
    for a, b in zip(
        whole.loss_weighting.weights, model.loss_weighting.weights, strict=True
    ):
        _close(a, b, atol=1e-6)


def test_weights_of_another_strategy_can_start_a_model(tmp_path):
    served = two.model("fixed")
    _fit(served, 1)
    served.save_weights(tmp_path / "model.weights.h5")
    model = two.model("gradnorm")
    model.load_weights(tmp_path / "model.weights.h5")
    _close(model.theta, served.theta)
    assert model.loss_weighting.report() == {"u": 1, "v": 1}
    # What is served has no part of the strategy.
    assert len(model.get_weights()) == len(served.get_weights())


def test_validation_is_a_fixed_yardstick():
    data = two.batch(labels=(1, 1))
    for name in ("decay", "uncertainty", "gradnorm"):
        model = two.model(name, rate=0.0, weights=(1, 2))
        history = _fit(model, 2, data, validation_data=data)
        _close(history["val_loss"], [3, 3])
        assert not any(key.startswith("val_u_weight") for key in history)


def test_every_way_of_giving_callbacks():
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["u_weight"])
    )
    model = two.model(Decay(0.5))
    inputs, labels = two.batch()
    model.fit(inputs, labels, 2, 1, 0, [callback])
    _fit(model, 1, callbacks=callback)
    made = keras.callbacks.CallbackList([callback], add_history=True, model=model)
    _fit(model, 2, callbacks=made)
    assert seen == [1, 1, 1, 0.5]
    assert isinstance(made.callbacks[0], WeightingEpochs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("decay", {"gamma": {"u": 0.5}, "by": "step"}),
        ("dwa", {"temperature": 1.5}),
        ("uncertainty", {}),
        ("gradnorm", {"alpha": 0.12, "rate": 0.1}),
        ("pcgrad", {"seed": 3}),
        (
            "metabalance",
            {"target": "v", "relax": 0.5, "decay": 0.8, "change": "reduce"},
        ),
    ],
)
def test_config_round_trip(name, options):
    strategy = weighting(name, **options)
    config = keras.saving.serialize_keras_object(strategy)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(strategy)
    assert again.get_config() == strategy.get_config()
    for key, value in options.items():
        assert getattr(again, key) == value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: weighting("dwaa"), "Received: 'dwaa'. Did you mean 'dwa'"),
        (lambda: weighting("dwa", temprature=2), "Did you mean 'temperature'"),
        (lambda: DWA(temperature=0), "temperature must be above 0. Received: 0"),
        (lambda: weighting("dwa", temperature="2"), "above 0. Received: '2'"),
        (lambda: Decay(gamma=0), "gamma must be a number above 0. Received: 0"),
        (lambda: Decay({"u": "x"}), "gamma must be a number above 0"),
        (lambda: Decay(by="steps"), "Did you mean 'step'"),
        (lambda: two.model(Decay({"w": 0.5})), "Each task of gamma must be one of"),
        (lambda: two.model(DWA), "must be a name or a tfmtl.training.LossWeighting"),
        (lambda: two.model("pcgrid"), "Did you mean 'pcgrad'"),
        (
            lambda: weighting("gradnorm", rate=0),
            "rate above 0. Received: alpha=1.5, ra",
        ),
        (lambda: weighting("metabalance", relax=2), r"relax must lie in \[0, 1\]"),
        (
            lambda: weighting("metabalance", change="all"),
            "change must be one of 'both'",
        ),
        (lambda: two.model(weighting("metabalance", target="w")), "target must be one"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_strategy_belongs_to_one_model():
    strategy = DWA()
    model = two.model(strategy)
    model.compile("sgd", strategy)  # the same model may go on with it
    with pytest.raises(ValueError, match="Received a DWA that another model"):
        two.model(strategy)


@pytest.mark.parametrize("name", fast(tfmtl.training.weightings(), RESUMED))
def test_what_was_learnt_under_any_strategy_loads_without_it(name, stopped):
    """As a server loads it, and as a training under another strategy goes on."""
    (inputs, _), model, _, folder = stopped(name)
    bare = keras.models.load_model(folder / "model.keras", compile=False)
    _close(bare(inputs)["u"], model(inputs)["u"])
    for other in ("fixed", "decay", "uncertainty"):
        again = two.model(other)
        again.load_weights(folder / "model.weights.h5")
        _close(again(inputs)["v"], model(inputs)["v"])
