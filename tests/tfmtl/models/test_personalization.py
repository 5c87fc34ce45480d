"""EPNet and PPNet around any architecture."""

import keras
import numpy as np
import pytest
from quick_model import quick_again, quick_model, small
from representatives import architectures as representatives

import tfmtl

FEATURES = [
    tfmtl.Categorical("user", vocabulary_size=9, embedding_dim=4),
    tfmtl.Categorical("tab", vocabulary_size=4, embedding_dim=3),
    tfmtl.Numeric("x"),
]
TASKS = [tfmtl.Task("click", tower=(8, 4)), tfmtl.Task("like", tower=(6,))]
INPUTS = {
    "user": np.arange(8),
    "tab": np.array([1, 1, 1, 1, 2, 2, 3, 3]),
    "x": np.linspace(-1, 1, 8, dtype="float32"),
}
EPNET = {"domain_features": ["tab"]}
PPNET = {"prior_features": ["user"]}


def _switch_off(model):
    for gate in [model.epnet.gate, *model.ppnet.gates]:
        gate.scale.set_weights([np.zeros_like(w) for w in gate.scale.get_weights()])


@representatives
def test_every_architecture_takes_both(name):
    options = {"epnet": EPNET, "ppnet": PPNET}
    options = {k: v for k, v in options.items() if k in tfmtl.models.options(name)}
    if name in ("epnet", "ppnet", "pepnet"):
        options.pop(name, None)  # which it has of itself
        if name == "pepnet":
            options = {"domain": "tab"}
    model = quick_model(name, FEATURES, TASKS, INPUTS, **small(name), **options)
    outputs = model(INPUTS)
    for task, output in quick_again(model, INPUTS)(INPUTS).items():
        np.testing.assert_allclose(output, outputs[task], rtol=1e-5, atol=1e-6)
    _switch_off(model)
    moved = [np.abs(x - outputs[k]).max() for k, x in model(INPUTS).items()]
    assert max(moved) > 1e-6


def test_gates_of_1_leave_the_architecture_as_it_was():
    plain = tfmtl.models.get("ple")(FEATURES, TASKS)
    model = tfmtl.models.get("ple")(FEATURES, TASKS, epnet=EPNET, ppnet=PPNET)
    _switch_off(model)
    model.embedding.set_weights(plain.embedding.get_weights())
    model.sharing.set_weights(plain.sharing.get_weights())
    for task, tower in plain.towers.items():
        hidden = zip(model.ppnet.networks[task], tower.hidden.layers, strict=True)
        for network, dense in hidden:
            network.set_weights(dense.get_weights())
        model.towers[task].logit.set_weights(tower.logit.get_weights())
    for task, output in plain(INPUTS).items():
        np.testing.assert_allclose(model(INPUTS)[task], output, rtol=1e-5)


def test_pepnet_with_gates_of_1_is_shared_top():
    top = tfmtl.models.get("shared_top")(FEATURES, TASKS, domain="tab", units=(5,))
    model = tfmtl.models.get("pepnet")(
        FEATURES, TASKS, domain="tab", prior_features=["user"], units=(5,)
    )
    model.embedding.set_weights(top.embedding.get_weights())
    for task, tower in top.towers.items():
        layers = [*top.sharing.bottoms[task].layers, *tower.hidden.layers]
        for network, dense in zip(model.ppnet.networks[task], layers, strict=True):
            network.set_weights(dense.get_weights())
        model.towers[task].logit.set_weights(tower.logit.get_weights())
    before = model(INPUTS)
    _switch_off(model)
    for task, output in top(INPUTS).items():
        assert np.abs(before[task] - output).max() > 1e-6
        np.testing.assert_allclose(model(INPUTS)[task], output, rtol=1e-5)


def test_pepnet_has_the_papers_layers():
    model = tfmtl.models.get("pepnet")(
        FEATURES, [tfmtl.Task("click"), tfmtl.Task("like")], domain="tab"
    )
    assert model.ppnet.units == {"click": (100, 64), "like": (100, 64)}
    assert [gate.units for gate in model.ppnet.gates] == [200, 128]
    assert model.epnet.gate.units == 4 + 3 + 1
    # The networks read the scaled embedding, the prior is not scaled.
    vectors = model.embedding(INPUTS)
    scaled = model.epnet(vectors)
    x = np.concatenate([np.asarray(v) for v in scaled.values()], axis=1)
    hidden = model.ppnet(x, vectors, scaled)["like"]
    expected = keras.ops.sigmoid(model.towers["like"](hidden))
    np.testing.assert_allclose(model(INPUTS)["like"], expected, rtol=1e-5)


def test_gate_report_shows_the_scales_of_each_domain():
    model = tfmtl.models.get("pepnet")(
        FEATURES,
        TASKS,
        domain="tab",
        prior_features=["user"],
        units=(),
        embedding_input="none",
    )
    report = model.gate_report(INPUTS, domain="tab")
    (name,) = [name for name in report if name.endswith("epnet")]
    assert report[name]["labels"] == ["user", "tab", "x"]
    assert list(report[name]["domains"]) == [1, 2, 3]
    table = model.embedding.table("tab")
    for tab, found in report[name]["domains"].items():
        delta = model.epnet.gate(table[[tab]]).numpy()[0]  # this gate reads the tab
        means = [delta[:4].mean(), delta[4:7].mean(), delta[7]]
        np.testing.assert_allclose(found["mean"], means, rtol=1e-5)
        np.testing.assert_allclose(found["std"], 0, atol=1e-3)
    labels = {k.split("/")[-1]: v["labels"] for k, v in report.items() if "ppnet" in k}
    assert labels == {"gate_1": ["click", "like"], "gate_2": ["click"]}


def test_saves_and_loads(tmp_path):
    model = tfmtl.models.get("mmoe")(
        FEATURES,
        TASKS,
        epnet={**EPNET, "field_wise": True},
        ppnet={**PPNET, "units": (5,)},
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.ppnet.units == {"click": (5, 8, 4), "like": (5, 6)}
    for task, output in model(INPUTS).items():
        np.testing.assert_allclose(again(INPUTS)[task], output, rtol=1e-5)


def test_bad_options_are_named():
    ple = tfmtl.models.get("ple")
    with pytest.raises(ValueError, match="'domain_feature'. Did you mean 'domain_feat"):
        ple(FEATURES, TASKS, epnet={"domain_feature": ["tab"]})
    with pytest.raises(
        ValueError, match="epnet must be a dict of options. Received: T"
    ):
        ple(FEATURES, TASKS, epnet=True)
    with pytest.raises(ValueError, match="^domain_features must .*mean 'tab'"):
        ple(FEATURES, TASKS, epnet={"domain_features": ["tap"]})
    with pytest.raises(ValueError, match="^prior_features must .*mean 'user'"):
        ple(FEATURES, TASKS, ppnet={"prior_features": ["usr"]})
    with pytest.raises(ValueError, match="PPNet scales hidden layers"):
        ple(FEATURES, [tfmtl.Task("click", tower=())], ppnet={})
