"""The bridge's tests; `test_tfrs.py` runs them where `tf.keras` is Keras 2."""

import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras
from doc_pages import blocks
from paths import ROOT
from quick_model import eager_steps, quick_model

import tfmtl
from tfmtl.integrations import tfrs as bridge

ROWS = 32
FAST = {  # those whose step is not the base's
    "esmm": {"units": (16,)},
    "escm2": {"units": (16,), "imputation_units": (4,)},
    "dephn": {"public": ("dnn",), "private": ("cross",), "units": (16,), "depth": 1},
}
optimizers = tfrs.experimental.optimizers


def _model(name="shared_bottom", seed=0):
    keras.utils.set_random_seed(seed)
    return quick_model(
        name,
        features=[
            tfmtl.Categorical("user", vocabulary_size=20, embedding_dim=4),
            tfmtl.Categorical("item", num_buckets=30, embedding_dim=4),
            tfmtl.Numeric("x"),
            tfmtl.Sequence("seen", of="item", max_length=3),
        ],
        tasks=[
            tfmtl.Task("click", tower=(8,)),
            tfmtl.Task("like", label="liked", space="click", tower=(), weight=2.0),
            tfmtl.Task("watch", "seconds", "regression", "played", loss="log_mse"),
        ],
        inputs=_inputs(),
        **FAST.get(name, {}),
    )


def _data(seed=0):
    rng = np.random.default_rng(seed)
    inputs = {
        "user": rng.integers(0, 10, ROWS),  # half of the table
        "item": 2.0**40 + rng.integers(0, 1000, ROWS),  # not in float32
        "x": rng.normal(size=ROWS).astype("float32"),
        "seen": rng.integers(0, 30, (ROWS, 3)),
    }
    labels = {
        "click": rng.integers(0, 2, ROWS).astype("float32"),
        "liked": rng.integers(0, 2, ROWS).astype("float32"),
        "seconds": rng.exponential(20, ROWS).astype("float32"),
        "played": rng.integers(0, 2, ROWS).astype("float32"),
    }
    inputs["x"][4:6] = np.nan, np.inf
    labels["click"][:3] = labels["liked"][2:5] = np.nan
    weights = rng.uniform(0.5, 2, ROWS).astype("float32")
    return tf.data.Dataset.from_tensor_slices((inputs, labels, weights)).batch(ROWS)


def _inputs():
    return next(iter(_data()))[0]


def _assert_same(a, b, **tolerance):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(
            a[key], b[key], **{"rtol": 1e-6, "atol": 1e-6, **tolerance}, err_msg=key
        )


def _assert_same_step(name):
    """One step of the bridge and one of Keras 3 give the same weights and metrics."""
    ours, theirs = _model(name), _model(name)
    before = [weight.numpy() for weight in ours.trainable_weights]
    ours.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    ranking = bridge.RankingModel(theirs)
    # One of them in a graph, which takes long to trace.
    ranking.compile(tf_keras.optimizers.SGD(0.1), run_eagerly=name != "esmm")
    logs = ours.fit(_data(), shuffle=False, verbose=0).history
    bridged = ranking.fit(_data(), verbose=0).history
    moved = 0
    for a, b, start in zip(
        ours.trainable_weights, theirs.trainable_weights, before, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=a.path)
        moved += np.abs(a.numpy() - start).max() > 1e-4
    assert moved > len(before) / 2
    # TFRS keeps losses of layers apart.
    bridged["loss"] = bridged.pop("total_loss")
    del bridged["regularization_loss"]
    _assert_same(logs, bridged, rtol=1e-5)


@pytest.mark.parametrize("name", FAST)
def test_a_step_is_that_of_keras_3(name):
    _assert_same_step(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in tfmtl.models.names() if n not in FAST])
def test_a_step_of_the_others_is_that_of_keras_3(name):
    _assert_same_step(name)


# Whose loss and metrics are over different rows, and that adds to its tasks' losses.
@pytest.mark.parametrize("name", ["esmm", "escm2"])
def test_evaluates_and_predicts_as_keras_3_does(name):
    model = _model(name)
    model.compile(run_eagerly=True)
    model.start_at({"click": 0.4, "like": 0.2})
    ranking = bridge.RankingModel(model)
    ranking.compile(run_eagerly=name != "esmm")
    theirs = ranking.evaluate(_data(), return_dict=True, verbose=0)
    theirs["loss"] = theirs.pop("total_loss")
    del theirs["regularization_loss"]
    _assert_same(model.evaluate(_data(), return_dict=True, verbose=0), theirs)
    _assert_same(
        model.predict(_inputs(), verbose=0), ranking.predict(_inputs(), verbose=0)
    )


def test_calibrations_are_seen_and_forgotten_by_fit():
    ranking = bridge.RankingModel(_model())
    ranking.compile(tf_keras.optimizers.SGD(0.1), run_eagerly=True)
    before = ranking.predict(_inputs(), verbose=0)["watch"]
    ranking.model.calibrate(_data())
    scale = ranking.model.calibrations["watch"].scale.numpy()
    assert abs(scale - 1) > 0.01
    after = ranking.predict(_inputs(), verbose=0)["watch"]
    np.testing.assert_allclose(after, scale * before, rtol=1e-5)
    ranking.fit(_data(), verbose=0)
    assert ranking.model.calibrations["watch"].scale.numpy() == 1


def test_rows_outside_of_all_spaces_change_nothing():
    ranking = bridge.RankingModel(_model())
    ranking.compile(tf_keras.optimizers.SGD(1.0), run_eagerly=True)
    before = ranking.get_weights()
    nothing = {
        key: tf.fill([ROWS], np.nan) for key in ("click", "liked", "seconds", "played")
    }
    logs = ranking.train_on_batch(_inputs(), nothing, return_dict=True)
    assert logs["total_loss"] == logs["like_loss"] == 0
    assert np.isnan(logs["click_auc"])
    for a, b in zip(before, ranking.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_tables_stay_sparse():
    ranking = bridge.RankingModel(_model("ple"))
    tables = ranking.embedding_trainable_variables
    assert sum(table.shape[0] for table in tables) == 20 + 30
    with tf.GradientTape() as tape:
        loss = ranking.compute_loss(next(iter(_data())), training=True)
    for gradient in tape.gradient(loss, tables):
        assert isinstance(gradient, tf.IndexedSlices)


def _composite(ranking):
    return optimizers.CompositeOptimizer(
        [
            (
                tf_keras.optimizers.legacy.Adagrad(0.05),
                lambda: ranking.embedding_trainable_variables,
            ),
            (
                tf_keras.optimizers.legacy.Adam(1e-3),
                lambda: ranking.dense_trainable_variables,
            ),
        ]
    )


@pytest.mark.parametrize("make", [_composite, lambda _: optimizers.ClippyAdagrad(0.1)])
def test_optimizers_of_tfrs_and_keras_2(make):
    ranking = bridge.RankingModel(_model())
    before = ranking.model.embedding.table("user")
    ranking.compile(make(ranking), run_eagerly=True)
    history = ranking.fit(_data(), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    # Rows that no batch has touched are as they were.
    changed = (ranking.model.embedding.table("user") != before).any(axis=1)
    assert changed[:10].any() and not changed[10:].any()


def test_checkpoint_restores_model_and_optimizer(tmp_path):
    whole, first = (bridge.RankingModel(_model()) for _ in range(2))
    for ranking in (whole, first):
        ranking.compile(tf_keras.optimizers.Adagrad(0.1), run_eagerly=True)
    whole.fit(_data(), epochs=2, verbose=0)
    first.fit(_data(), verbose=0)
    first.save_weights(tmp_path / "weights")
    second = bridge.RankingModel(_model(seed=1))
    second.compile(tf_keras.optimizers.Adagrad(0.1), run_eagerly=True)
    second.load_weights(tmp_path / "weights")
    _assert_same(first.model(_inputs()), second.model(_inputs()))
    second.fit(_data(), verbose=0)
    _assert_same(whole.model(_inputs()), second.model(_inputs()))


def test_trained_model_saves_and_exports(tmp_path):
    model = _model()
    before = model.predict(_inputs(), verbose=0)
    ranking = bridge.RankingModel(model)
    ranking.compile(tf_keras.optimizers.Adam(0.01), run_eagerly=True)
    ranking.fit(_data(), epochs=2, verbose=0)
    expected = ranking.predict(_inputs(), verbose=0)
    assert np.abs(expected["click"] - before["click"]).max() > 1e-3
    model.save(tmp_path / "model.keras")
    _assert_same(expected, keras.models.load_model(tmp_path / "model.keras")(_inputs()))
    tfmtl.export(model, tmp_path / "model")
    inputs = {key: value.numpy() for key, value in _inputs().items()}
    # The loader that TF Serving uses; tf.saved_model.load forgives more.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(
            session, ["serve"], str(tmp_path / "model")
        )
        signature = graph.signature_def["serving_default"]
        outputs = session.run(
            {key: tensor.name for key, tensor in signature.outputs.items()},
            {signature.inputs[key].name: value for key, value in inputs.items()},
        )
    _assert_same(expected, {key: outputs[key] for key in expected})


def test_what_keras_3_freezes_stays_frozen():
    model = _model()
    model.embedding.trainable = False
    ranking = bridge.RankingModel(model)
    assert not ranking.embedding_trainable_variables
    before = [table.numpy() for table in model.embedding.weights]
    ranking.compile(tf_keras.optimizers.SGD(0.1), run_eagerly=True)
    ranking.fit(_data(), verbose=0)
    for a, b in zip(before, model.embedding.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    ranking.layer.trainable = False
    assert not ranking.layer.trainable_weights
    assert len(ranking.layer.non_trainable_weights) >= len(model.weights)


def test_rankings_of_ones_own():
    model = _model()
    ranking = bridge.RankingModel(
        model,
        rankings={
            "click": tfrs.tasks.Ranking(
                loss=tf_keras.losses.BinaryCrossentropy(),
                metrics=[tf_keras.metrics.BinaryAccuracy(name="click_accuracy")],
                label_metrics=[tf_keras.metrics.Mean(name="click_rate")],
            )
        },
    )
    ranking.compile(run_eagerly=True)
    logs = ranking.evaluate(_data(), return_dict=True, verbose=0)
    assert "click_auc" not in logs and "like_auc" in logs
    _, labels, weights = (
        tf.nest.map_structure(lambda t: t.numpy(), x) for x in next(iter(_data()))
    )
    p = model(_inputs())["click"].numpy()[3:, 0]  # without the three NaN
    y, w = labels["click"][3:], weights[3:]
    losses = -np.log(np.where(y == 1, p, 1 - p))
    np.testing.assert_allclose(
        logs["click_loss"], (losses * w).sum() / ROWS, rtol=1e-5
    )  # as Keras 2 does it
    np.testing.assert_allclose(
        logs["click_accuracy"], (((p > 0.5) == y) * w).sum() / w.sum(), rtol=1e-5
    )
    np.testing.assert_allclose(logs["click_rate"], (y * w).sum() / w.sum(), rtol=1e-5)


def test_a_layer_in_a_model_of_ones_own():
    class Sum(tfrs.Model):
        def __init__(self, model):
            super().__init__()
            self.layer = bridge.KerasLayer(model)
            self.ranking = tfrs.tasks.Ranking()

        def compute_loss(self, inputs, training=False):
            x, y, _ = inputs
            p = self.layer(x, training=training)
            return self.ranking(y["played"], tf.add_n(list(p.values())) / 3)

    model = _model("snr")  # has a loss of its own
    whole = Sum(model)
    whole.compile(tf_keras.optimizers.SGD(0.1), run_eagerly=True)
    penalty = sum(float(loss) for loss in model.losses)
    logs = whole.evaluate(_data(), return_dict=True, verbose=0)
    np.testing.assert_allclose(logs["regularization_loss"], penalty, rtol=1e-5)
    before = [weight.numpy() for weight in model.trainable_weights]
    assert len(whole.trainable_variables) == len(before)
    whole.fit(_data(), verbose=0)
    assert any(
        (a != b.numpy()).any()
        for a, b in zip(before, model.trainable_weights, strict=True)
    )


@pytest.mark.parametrize("rank", [None, 2])
def test_cross_v2_is_theirs(rank):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 5)).astype("float32")
    ours = tfmtl.layers.CrossV2(2, rank)
    ours.build((None, 5))
    ours.set_weights([rng.normal(size=w.shape) * 0.5 for w in ours.weights])
    weights = {"/".join(w.path.split("/")[1:]): w.numpy() for w in ours.weights}
    y = x
    for i in range(2):
        theirs = tfrs.layers.dcn.Cross(projection_dim=rank)
        theirs(x, x)
        down = [weights[f"down_{i}/kernel"]] if rank else []
        theirs.set_weights(
            [*down, weights[f"cross_{i}/kernel"], weights[f"cross_{i}/bias"]]
        )
        y = theirs(x, y)
    np.testing.assert_allclose(ours(x), y, rtol=1e-4, atol=1e-5)


def test_metrics_forget_between_epochs():
    metric = bridge.KerasMetric(tfmtl.metrics.AUC(name="auc"))
    metric.update_state([0.0, 1.0], [0.9, 0.1])
    assert metric.result() == 0
    metric.reset_state()
    metric.update_state([0.0, 1.0], [0.1, 0.9])
    assert metric.result() == 1


def test_a_loss_counts_by_its_weight():
    task = tfmtl.Task("t", kind="regression", loss={"name": "mse", "weight": 0.5})
    assert float(bridge.TaskLoss(task)([4.0], [2.0])) == 2


def test_what_is_refused():
    with pytest.raises(ValueError, match="rankings.*Did you mean 'click'"):
        bridge.RankingModel(_model(), rankings={"clik": tfrs.tasks.Ranking()})
    with pytest.raises(ValueError, match="needs a tfmtl.MultiTaskModel"):
        bridge.KerasLayer(keras.layers.Dense(1))
    with pytest.raises(ValueError, match="needs a tfmtl.MultiTaskModel"):
        bridge.RankingModel("ple")
    ranking = bridge.RankingModel(_model())
    with pytest.raises(ValueError, match="of tf_keras or TFRS.*of Keras 3: SGD"):
        ranking.compile(keras.optimizers.SGD())
    ranking.compile(run_eagerly=True)
    with pytest.raises(ValueError, match="Labels must be a dict with the keys"):
        ranking.fit(_data().map(lambda x, y, w: x), verbose=0)


@pytest.fixture
def eager(tmp_path, monkeypatch):
    """Code of a page runs in a folder of its own, without time for tracing."""
    monkeypatch.chdir(tmp_path)
    with eager_steps(bridge.RankingModel):
        yield


def test_the_example(eager, tmp_path, capsys):
    text = (ROOT / "examples" / "tfrs_ranking.py").read_text()
    assert text.count("ROWS = 200, 100, 30_000") == 1
    exec(text.replace("30_000", "500"), {})
    assert "click AUC" in capsys.readouterr().out
    assert (tmp_path / "exported" / "saved_model.pb").exists()


def test_blocks_of_the_page(eager, tmp_path):
    model = _model()
    names = {"features": model.features, "tasks": model.tasks, "dataset": _data()}
    for block in blocks("python"):
        if block.page == "docs/integrations/tfrs.md":
            exec("\n" * (block.line - 1) + block.text, names)
    assert (tmp_path / "exported" / "saved_model.pb").is_file()
    own = bridge.RankingModel(names["model"], rankings=names["rankings"])
    own.compile()
    logs = own.evaluate(_data(), return_dict=True, verbose=0)
    assert "click_accuracy" in logs and "click_auc" in logs


def test_examples_of_the_docstrings():
    found = doctest.testmod(bridge)
    assert found.attempted > 10 and not found.failed
