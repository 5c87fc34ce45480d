import numpy as np
import pytest
import tensorflow as tf

from tfmtl import layers
from tfmtl.layers.blocks.virtual_gradient import (
    COEFFICIENTS,
    batch_correlation,
    current_correlation,
    gradient_factor,
    label_correlation,
    scale_gradient,
)

TASKS = ["click", "like", "watch"]
CORRELATION = np.array([[1, 0.8, 0.1], [0.8, 1, 0], [0.1, 0, 1]], "float32")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # gamma(0, 0), gamma(1, 0), gamma(1, 1) and gamma(0.5, 0.25), by hand
        ("mul_cos", [2, 2, 2, 1 + np.sqrt(0.5)]),
        ("mul_abs", [2, 2, 2, 1.5]),
        ("mul_square", [2, 2, 2, 1.125]),
        ("mul_sqrt", [2, 2, 2, np.sqrt(3)]),
        ("add_cos", [2, 0, 2, 1 - np.sqrt(0.5)]),
        ("add_abs", [2, 0, 2, 0.5]),
        ("add_square", [2, 0, 2, 0.125]),
        ("add_sqrt", [2, 0, 2, 1]),
    ],
)
def test_coefficients_by_hand(name, values):
    x = np.array([0, 1, 1, 0.5], "float32")
    y = np.array([0, 0, 1, 0.25], "float32")
    np.testing.assert_allclose(COEFFICIENTS[name](x, y), values, atol=1e-5)
    grid_x, grid_y = np.meshgrid(*[np.linspace(0, 1, 21, dtype="float32")] * 2)
    gamma = np.asarray(COEFFICIENTS[name](grid_x, grid_y))
    assert gamma.min() >= 0 and gamma.max() <= 2 + 1e-6
    np.testing.assert_allclose(gamma, gamma.T, atol=1e-5)  # x and y play the same part


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_gate_gradient_is_the_plain_one_times_the_product(name):
    rng = np.random.default_rng(0)
    experts = [tf.constant(rng.normal(size=(5, n)), "float32") for n in (3, 4)]
    gates = layers.GlobalGates(TASKS, 2, coefficient=name)
    gates(experts)
    gates.set_weights([np.array([[1, 0.5], [0.7, 0.9], [3, -0.2]], "float32")])

    def run():
        with tf.GradientTape() as tape:
            outputs = gates(experts)
            loss = sum(tf.reduce_sum(x**2) for x in outputs.values())
        return outputs, tape.gradient(loss, gates.gates.value).numpy()

    outputs, plain = run()
    with batch_correlation(tf.constant(CORRELATION)):
        scaled_outputs, scaled = run()
    for task in TASKS:  # the forward pass does not know of gamma
        np.testing.assert_array_equal(outputs[task], scaled_outputs[task])

    expected = plain.copy()
    weights = gates.get_weights()[0]
    for t in range(3):
        for j in range(3):
            for k in range(2):
                if j != t:
                    difference = min(1, abs(weights[t, k] - weights[j, k]))
                    expected[t, k] *= COEFFICIENTS[name](CORRELATION[t, j], difference)
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(scaled, plain)


def test_factor_of_zero_stops_a_gate_without_nan():
    gates = tf.Variable([[1.0], [1.0]])
    related = tf.ones((2, 2))  # equal gates of the same labels: 2 sqrt(1 + 0 - 1)
    with tf.GradientTape() as tape:
        factor = gradient_factor(gates, related)
        value = scale_gradient(gates, factor)
    np.testing.assert_array_equal(value, gates)
    np.testing.assert_array_equal(tape.gradient(value, gates), [[0], [0]])


def test_factor_of_dozens_of_tasks():
    gates = tf.ones((24, 2))
    correlation = 0.75 * tf.ones((24, 24)) + 0.25 * tf.eye(24)
    np.testing.assert_allclose(gradient_factor(gates, correlation), np.ones((24, 2)))
    factor = gradient_factor(gates, tf.eye(24))  # unrelated, yet equal gates
    np.testing.assert_allclose(factor, np.full((24, 2), 2.0**23))
    np.testing.assert_array_equal(gradient_factor(gates[:1], tf.eye(1)), [[1, 1]])


def test_correlation_is_numpys():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(4, 50)).astype("float32")
    labels[1] = labels[0] * -3 + 0.3 * labels[1]
    labels[2] = 50_000 + labels[2]  # digits must survive a large mean
    labels[3] = labels[3] > 1
    ones = np.ones_like(labels)
    found = label_correlation(labels, ones)
    np.testing.assert_allclose(found, np.abs(np.corrcoef(labels)), atol=2e-3)
    np.testing.assert_allclose(found, np.transpose(found), atol=1e-6)
    norms = np.linalg.norm(labels, axis=1)
    np.testing.assert_allclose(
        label_correlation(labels, ones, "cosine"),
        np.abs(labels @ labels.T) / np.outer(norms, norms),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["pearson", "cosine"])
def test_correlation_is_taken_over_the_rows_of_both_tasks(kind):
    rng = np.random.default_rng(1)
    labels = rng.normal(2, 1, size=(3, 40)).astype("float32")
    masks = rng.integers(0, 2, size=labels.shape).astype("float32")
    found = label_correlation(labels * masks, masks, kind).numpy()
    for t in range(3):
        for j in range(3):
            both = (masks[t] * masks[j]) == 1
            a, b = labels[t, both], labels[j, both]
            if kind == "pearson":
                a, b = a - a.mean(), b - b.mean()
            expected = abs(a @ b) / np.sqrt((a @ a) * (b @ b))
            np.testing.assert_allclose(found[t, j], expected, atol=1e-5)


def test_undefined_correlation_is_zero():
    labels = np.array([[0, 1, 0, 1], [1, 1, 1, 0], [3, 3, 3, 3]], "float32")
    masks = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]], "float32")
    # The second label is constant inside its space, the third everywhere.
    expected = np.zeros((3, 3))
    expected[0, 0] = 1
    np.testing.assert_allclose(label_correlation(labels, masks), expected, atol=1e-6)
    nothing = np.zeros_like(masks)
    for kind in ("pearson", "cosine"):
        assert not label_correlation(labels, nothing, kind).numpy().any()


def test_correlation_reaches_no_further_than_its_block():
    with batch_correlation("outer"):
        with batch_correlation("inner"):
            assert current_correlation() == "inner"
        assert current_correlation() == "outer"
    assert current_correlation() is None
    with pytest.raises(RuntimeError), batch_correlation("inner"):
        raise RuntimeError
    assert current_correlation() is None


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="coefficient must be one of.*'add_sqr'"):
        layers.GlobalGates(TASKS, 2, coefficient="add_sqr")
    with pytest.raises(ValueError, match="coefficient must be one of"):
        gradient_factor(tf.ones((2, 2)), tf.ones((2, 2)), "add")
    with pytest.raises(ValueError, match="correlation must be one of.*'spearman'"):
        label_correlation(tf.ones((2, 3)), tf.ones((2, 3)), "spearman")
    with pytest.raises(ValueError, match="experts must be a positive integer"):
        layers.GlobalGates(TASKS, 0)
    with pytest.raises(ValueError, match="2 experts need as many labels"):
        layers.InputGates(TASKS, 2, labels=["a"])
    gates = layers.GlobalGates(TASKS, 1)
    with batch_correlation(tf.ones((2, 2))), pytest.raises(ValueError, match="3 tasks"):
        gates([tf.ones((4, 2))])
