"""The contract that every architecture keeps."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from effects import redraw
from quick_model import quick_model, small
from representatives import architectures as representatives
from representatives import fast

import tfmtl

ROWS = 64
# The graph of the other representatives is looked at, not saved.
EXPORTED = ("ple", "esmm", "dephn")
# In training every row of a batch counts in its mean, whatever its labels.
NORMALISED_BY_BATCH = ("star", "home")
MEANS = {"click": 0.3, "like": 0.002, "watch": 25.0}
every_architecture = pytest.mark.parametrize("name", tfmtl.models.names())


def _features():
    return [
        tfmtl.Categorical("user", vocabulary_size=20, embedding_dim=8),
        tfmtl.Categorical("item", num_buckets=30, embedding_dim=8),
        tfmtl.Numeric("x"),
        tfmtl.Sequence("seen", of="item", max_length=4),
    ]


def _tasks():
    return [
        tfmtl.Task("click", calibration="platt", weight=0.5),
        tfmtl.Task("like", label="liked", space="click", calibration="isotonic"),
        tfmtl.Task("watch", kind="regression", space="played", loss="log_mse"),
    ]


def _data(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {
        "user": rng.integers(0, 20, rows),
        "item": rng.integers(0, 1000, rows),
        "x": rng.normal(size=rows).astype("float32"),
        "seen": rng.integers(0, 30, (rows, 4)),
    }
    inputs["x"][3:6] = np.nan, np.inf, -np.inf
    labels = {
        "click": rng.integers(0, 2, rows).astype("float32"),
        "liked": rng.integers(0, 2, rows).astype("float32"),
        "watch": rng.exponential(20, rows).astype("float32"),
        "played": rng.integers(0, 2, rows).astype("float32"),
    }
    return inputs, labels


def _model(name, **options):
    keras.utils.set_random_seed(0)
    model = quick_model(name, _features(), _tasks(), _data()[0], **options)
    model.compile()
    return model


def _same(a, b, **tolerance):
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_allclose(
            a[key], b[key], **{"rtol": 1e-4, "atol": 1e-5, **tolerance}, err_msg=key
        )


def _gradients(model, inputs, labels):
    redraw(model)
    training = model.architecture not in NORMALISED_BY_BATCH
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=training)
        loss = model.compute_loss(inputs, labels, outputs)
    variables = [w.value for w in model.trainable_weights]
    gradients = tape.gradient(loss, variables)
    return loss, [tf.convert_to_tensor(g).numpy() for g in gradients]


class Fitted(NamedTuple):
    """An architecture after a few epochs, and what it told meanwhile."""

    model: tfmtl.MultiTaskModel
    history: dict
    predictions: dict
    started: dict  # predictions after `start_at`


@pytest.fixture(scope="module")
def fitted():
    """Gives each architecture after a few steps, calibrated by numbers of ours.

    No test may change its weights. The steps are eager, as tracing one takes longer
    than all of them; another test sees what only a graph refuses.
    """

    @functools.cache
    def get(name):
        model = _model(name, **small(name))
        model.compile(keras.optimizers.Adam(0.02), run_eagerly=True)
        inputs, labels = _data()
        weights = model.get_weights()
        model.start_at(MEANS)
        started = model(inputs)
        model.set_weights(weights)
        history = model.fit(inputs, labels, epochs=3, batch_size=64, verbose=0).history
        plain = {task: np.asarray(p) for task, p in model(inputs).items()}
        model.calibrations["click"].assign({"slope": 0.5, "offset": -1.0})
        model.calibrations["like"].assign({"own": 0.5, "offset": 0.25})
        model.calibrations["watch"].assign({"scale": 1.5})
        predictions = model.predict(inputs, verbose=0)
        expected = {"like": 0.5 * plain["like"] + 0.25, "watch": 1.5 * plain["watch"]}
        _same(expected, {task: predictions[task] for task in expected})
        assert (predictions["click"] != plain["click"]).all()
        return Fitted(model, history, predictions, started)

    return get


@representatives
def test_fits_and_predicts(name, fitted):
    _, history, predictions, _ = fitted(name)
    assert history["loss"][-1] < history["loss"][0]
    assert min(history["click_loss"]) < history["click_loss"][0]
    assert list(predictions) == ["click", "like", "watch"]
    for task in _tasks():
        prediction = predictions[task.name]
        assert prediction.shape == (ROWS, 1) and prediction.dtype == "float32"
        assert np.isfinite(prediction).all()
        if task.kind == "binary":
            assert ((prediction > 0) & (prediction < 1)).all()


@every_architecture
def test_one_task_one_feature(name):
    inputs = {"user": np.array([0, 1, 2, 3])}
    features = [tfmtl.Categorical("user", vocabulary_size=5)]
    model = quick_model(name, features, [tfmtl.Task("click")], inputs)
    outputs = model(inputs)
    assert outputs["click"].shape == (4, 1)
    # One task may have a bare label.
    assert np.isfinite(model.compute_loss(inputs, np.array([0, 1, 0, 1]), outputs))


@pytest.mark.slow  # the layers' own battery covers most of it
@every_architecture
def test_dozens_of_tasks(name):
    tasks = [tfmtl.Task(f"task_{i}") for i in range(24)]
    model = tfmtl.models.get(name)(features=[tfmtl.Numeric("x")], tasks=tasks)
    assert len(model({"x": np.ones(2, "float32")})) == 24


@representatives
def test_a_number_that_is_not_finite_is_0(name, fitted):
    model, history, predictions, _ = fitted(name)
    assert np.isfinite(history["loss"]).all()
    for weight in model.weights:
        assert np.isfinite(weight).all(), weight.path
    inputs, _ = _data()
    assert not np.isfinite(inputs["x"]).all()
    inputs["x"] = np.nan_to_num(inputs["x"], nan=0, posinf=0, neginf=0)
    _same(predictions, model.predict(inputs, verbose=0), rtol=0, atol=0)


@representatives
def test_saves_and_loads(name, fitted, tmp_path):
    model, _, predictions, _ = fitted(name)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    assert again.features == model.features and again.tasks == model.tasks
    _same(predictions, again(_data()[0]))
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def _trace(call, *examples):
    """Returns the graph of a function of batches such as these, of any size."""
    specs = [
        {key: tf.TensorSpec((None, *x.shape[1:]), x.dtype) for key, x in part.items()}
        for part in examples
    ]
    return tf.function(call, autograph=False).get_concrete_function(*specs)


@representatives
def test_its_graph_holds_nothing_but_its_variables(name, fitted):
    """An export would lose what else it held."""
    model = fitted(name).model
    graph = _trace(lambda x: model(x, training=False), _data()[0])
    own = {id(variable.value.handle) for variable in model.variables}
    assert {id(tensor) for tensor in graph.captured_inputs} <= own


@representatives
def test_its_loss_can_be_traced(name, fitted):
    model = fitted(name).model

    def loss(x, y):
        with model.training_scope(x, y):
            return model.compute_loss(x, y, model(x, training=True))

    assert _trace(loss, *_data()).structured_outputs.shape == ()


@pytest.mark.parametrize("name", fast(tfmtl.models.names(), EXPORTED))
def test_exports_for_a_server(name, fitted, tmp_path):
    model, _, expected, _ = fitted(name)
    inputs, _ = _data()
    tfmtl.export(model, tmp_path / "model")
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
    _same(expected, {key: outputs[key] for key in expected})


@representatives  # the layers' own battery tells whether rows depend on each other
def test_masked_rows_change_nothing(name):
    model = _model(name, **small(name))
    inputs, labels = _data()
    loss, gradients = _gradients(model, inputs, labels)
    more_inputs, more_labels = _data(seed=1)
    more_labels = {key: np.full(ROWS, np.nan, "float32") for key in more_labels}
    inputs = {k: np.concatenate([v, more_inputs[k]]) for k, v in inputs.items()}
    labels = {k: np.concatenate([v, more_labels[k]]) for k, v in labels.items()}
    loss_again, gradients_again = _gradients(model, inputs, labels)
    np.testing.assert_allclose(loss, loss_again, rtol=1e-6)
    for a, b in zip(gradients, gradients_again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    nothing = {key: np.full(2 * ROWS, np.nan, "float32") for key in labels}
    loss, gradients = _gradients(model, inputs, nothing)
    # What is left are the penalties on weights themselves, if there are any.
    np.testing.assert_allclose(loss, sum(model.losses), rtol=1e-6)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert weight.regularizer is not None or not gradient.any(), weight.path


@pytest.mark.slow  # the layers' own battery covers most of it
@every_architecture
def test_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _model(name)
        inputs, labels = _data()
        loss, gradients = _gradients(model, inputs, labels)
        assert np.isfinite(loss) and all(np.isfinite(g).all() for g in gradients)
        assert all(w.dtype == "float32" for w in model.trainable_weights)
        assert all(x.dtype == "float32" for x in model(inputs).values())
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow  # the layers' own battery covers most of it
@every_architecture
def test_jit_changes_nothing(name, fitted):
    model = fitted(name).model
    inputs = {key: tf.constant(value) for key, value in _data()[0].items()}
    compiled = tf.function(lambda x: model(x), jit_compile=True)
    _same(model(inputs), compiled(inputs))


WAYS = [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}]


def test_ways_to_run_a_step_change_nothing():
    inputs, labels = _data(128)
    results = []
    for options in ({}, *WAYS):
        model = _model("shared_bottom", units=(8,))
        model.compile(**options)
        model.fit(inputs, labels, shuffle=False, batch_size=32, verbose=0)
        assert all(np.isfinite(weight).all() for weight in model.weights)
        results.append(model.predict(inputs, verbose=0))
        _same(results[0], results[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("options", WAYS[:2])
@every_architecture
def test_no_way_to_run_a_step_lets_in_what_is_not_finite(name, options):
    inputs, labels = _data()
    model = _model(name)
    model.compile(**options)
    model.fit(inputs, labels, verbose=0)
    for weight in model.weights:
        assert np.isfinite(weight).all(), weight.path


def test_unknown_architecture_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="Received: 'pel'. Did you mean 'ple'"):
        tfmtl.models.get("pel")


def test_missing_inputs_and_labels_are_named():
    model = _model("shared_bottom")
    inputs, labels = _data()
    with pytest.raises(ValueError, match="Feature 'user' is missing"):
        model.predict({k: v for k, v in inputs.items() if k != "user"}, verbose=0)
    with pytest.raises(ValueError, match="label of task 'like', 'liked' is missing"):
        model.fit(inputs, {k: v for k, v in labels.items() if k != "liked"}, verbose=0)
    with pytest.raises(ValueError, match="space of task 'watch', 'played' is missing"):
        model.fit(inputs, {k: v for k, v in labels.items() if k != "played"}, verbose=0)
    with pytest.raises(ValueError, match="Labels must be a dict with the keys"):
        model.fit(inputs, labels["click"], verbose=0)
    with pytest.raises(ValueError, match="A loss belongs to its task"):
        model.compile(loss="mse")
    with pytest.raises(ValueError, match="A weight belongs to its task.*click"):
        model.compile(loss_weights={"click": 2})
    with pytest.raises(ValueError, match="Metrics belong to their task.*AUC"):
        model.compile(metrics=["AUC"])


def test_sample_weights_count_like_repeated_rows():
    model = _model("shared_bottom", units=(8,))
    model.compile(run_eagerly=True)
    inputs, labels = _data()
    weights = np.ones(ROWS, "float32")
    weights[:8] = 2
    weighted = model.evaluate(
        inputs,
        labels,
        sample_weight=weights,
        return_dict=True,
        verbose=0,
        batch_size=99,
    )
    twice = [np.concatenate([x, x[:8]]) for x in (*inputs.values(), *labels.values())]
    keys = [*inputs, *labels]
    both = dict(zip(keys, twice, strict=True))
    repeated = model.evaluate(
        {k: both[k] for k in inputs},
        {k: both[k] for k in labels},
        return_dict=True,
        verbose=0,
        batch_size=99,
    )
    for key, value in weighted.items():
        np.testing.assert_allclose(value, repeated[key], rtol=1e-5, err_msg=key)


@representatives
def test_starts_at_the_means_of_the_labels(name, fitted):
    started = fitted(name).started
    for task in _tasks():
        (start,) = task.loss[0].logits_at(MEANS[task.name])
        (found,) = task.loss[0].logits_at(float(np.mean(started[task.name])))
        assert abs(found - start) < 1.5, task.name


def test_what_a_model_cannot_be_built_from():
    features, tasks = [tfmtl.Numeric("x")], [tfmtl.Task("click")]
    make = tfmtl.models.get("ple")
    with pytest.raises(ValueError, match="Did you mean 'shared_experts'"):
        make(features, tasks, shared_expert=2)
    with pytest.raises(ValueError, match="must be a tfmtl.Task. Received: 'click'"):
        make(features, ["click"])
    with pytest.raises(ValueError, match="must be a Categorical, Multivalued, Numeric"):
        make(["x"], tasks)


def test_a_model_with_a_sharing_structure_of_ones_own_loads(tmp_path):
    model = tfmtl.models.MultiTaskModel(
        _features(), [tfmtl.Task("a")], tfmtl.layers.SharedBottom(["a"], (4,))
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _same(model(_data()[0]), again(_data()[0]))


def test_a_sharing_structure_without_a_task_is_refused():
    with pytest.raises(ValueError, match=r"SharedBottom without 'b', .*\['a'\]"):
        tfmtl.models.MultiTaskModel(
            _features(),
            [tfmtl.Task("a"), tfmtl.Task("b")],
            tfmtl.layers.SharedBottom(["a"], (4,)),
        )


def test_a_label_out_of_range_is_refused():
    model = _model("shared_bottom", units=(8,))
    inputs, labels = _data()
    labels["click"][3] = 2
    with pytest.raises(ValueError, match="'click' must be 0 or 1. Received: 2.* row 3"):
        model.fit(inputs, labels, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(8)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="task click must be 0 or 1"
    ):
        model.fit(batches, verbose=0)
