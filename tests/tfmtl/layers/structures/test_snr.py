import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers

U = np.random.default_rng(5).normal(size=(4, 3, 6)).astype("float32")


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _routing(log_alpha, **options):
    layer = layers.SubNetworkRouting(["a", "b"], **options)
    layer.build(U.shape)
    layer.log_alpha.assign(log_alpha)
    return layer


LOG_ALPHA = np.array([[0.0, 1.0, -9.0], [9.0, -1.0, 0.5]], "float32")


@pytest.mark.parametrize("connection", ["trans", "aver"])
def test_routing_is_its_equation(connection):
    layer = _routing(LOG_ALPHA, connection=connection)
    z = np.clip(_sigmoid(LOG_ALPHA) * 1.2 - 0.1, 0, 1)
    assert z[0, 2] == 0 and z[1, 0] == 1  # switched off and fully on
    expected = np.zeros((4, 2, 6))
    for i in range(2):
        for j in range(3):
            u = U[:, j]
            if connection == "trans":
                u = u @ layer.kernel.numpy()[j, :, i]
            expected[:, i] += z[i, j] * u
    np.testing.assert_allclose(layer(U), expected, rtol=1e-4, atol=1e-5)


def test_noise_is_drawn_in_training_only():
    layer = _routing(LOG_ALPHA)
    np.testing.assert_array_equal(layer(U), layer(U, training=False))
    assert not np.allclose(layer(U, training=True), layer(U, training=True))


def test_switches_follow_the_hard_concrete_distribution():
    log_alpha = np.repeat([[-2.0], [0.0], [1.0]], 4000, axis=1)
    layer = layers.SubNetworkRouting(["a", "b", "c"], connection="aver")
    layer.build((None, 4000, 1))
    layer.log_alpha.assign(log_alpha)
    z = np.asarray(layer.switches(training=True))
    assert z.min() == 0 and z.max() == 1
    # P(z > 0) is the very term of the penalty.
    expected = _sigmoid(log_alpha[:, 0] - 2 / 3 * np.log(0.1 / 1.1))
    np.testing.assert_allclose((z > 0).mean(axis=1), expected, atol=0.03)
    # P(z = 1) is that of s above (1 - gamma) / (zeta - gamma).
    high = 2 / 3 * np.log(1.1 / 0.1)
    expected = _sigmoid(log_alpha[:, 0] - high)
    np.testing.assert_allclose((z == 1).mean(axis=1), expected, atol=0.03)


def test_penalty_counts_the_open_switches():
    layer = _routing(LOG_ALPHA, penalty=0.5)
    expected = 0.5 * _sigmoid(LOG_ALPHA - 2 / 3 * np.log(0.1 / 1.1)).sum()
    np.testing.assert_allclose(sum(layer.losses), expected, rtol=1e-5)
    assert _routing(LOG_ALPHA, penalty=0).losses == []


def test_each_connection_starts_as_a_dense_layer_of_its_own():
    layer = layers.SubNetworkRouting([str(i) for i in range(3)])
    layer.build((None, 4, 32))
    kernels = layer.kernel.numpy().transpose(0, 2, 1, 3).reshape(12, -1)
    dense = keras.layers.Dense(32)
    dense.build((None, 32))
    np.testing.assert_allclose(
        kernels.std(axis=1), dense.kernel.numpy().std(), rtol=0.1
    )
    assert np.abs(np.corrcoef(kernels) - np.eye(12)).max() < 0.2


def test_a_task_reaches_only_what_is_switched_on():
    layer = layers.SNR(["click", "like"], subnetworks=2, units=((4,), (4,)))
    x = tf.constant(U[:, 0])
    layer(x)
    layer.routings[1].log_alpha.assign([[9.0, -9.0], [-9.0, 9.0]])
    weights = [network.trainable_weights[0].value for network in layer.upper]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x)["click"] ** 2)
    own, other = tape.gradient(loss, weights)
    assert own.numpy().any() and not other.numpy().any()


def test_any_number_of_levels():
    for levels in (1, 3):
        layer = layers.SNR(["click", "like"], 2, ((5,),) * levels)
        assert layer(U[:, 0])["like"].shape == (4, 5)
        assert len(layer.upper) == 2 * (levels - 1)


def test_predictions_do_not_change_from_call_to_call():
    model = tfmtl.models.get("snr")([tfmtl.Numeric("x")], [tfmtl.Task("click")])
    x = {"x": np.ones(3, "float32")}
    first = model.predict(x, verbose=0)["click"]
    np.testing.assert_array_equal(first, model.predict(x, verbose=0)["click"])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="connection must be one of 'trans', 'aver'"):
        layers.SNR(["click"], connection="mean")
    with pytest.raises(ValueError, match="subnetworks must be a positive integer"):
        layers.SNR(["click"], subnetworks=0)
    with pytest.raises(ValueError, match="one tuple of layer widths a level"):
        layers.SNR(["click"], units=(8, 4))
    with pytest.raises(ValueError, match="penalty must be >= 0"):
        layers.SNR(["click"], penalty=-1.0)
