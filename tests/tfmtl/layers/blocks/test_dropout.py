"""Dropout: the masks of Keras, by a generator that is fast under XLA too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers.blocks.dnn import DNN, Dropout

ONES = np.ones((64, 32), "float32")


def _masks(layer):
    """Returns what two steps make of ones."""
    step = tf.function(lambda x: layer(x, training=True))
    return [step(ONES).numpy() for _ in range(2)]


def test_masks_are_those_of_keras():
    expected = _masks(keras.layers.Dropout(0.3, seed=7))
    np.testing.assert_array_equal(_masks(Dropout(0.3, seed=7)), expected)
    assert 0.2 < np.mean(expected[0] == 0) < 0.4
    assert not np.array_equal(*expected)


def test_the_generator_is_not_left_to_the_compiler():
    layer = DNN((4,), dropout=0.3)
    step = tf.function(lambda x: layer(x, training=True))
    (draw,) = (
        op
        for op in step.get_concrete_function(ONES).graph.get_operations()
        if op.type == "StatelessRandomUniformV2"
    )
    *_, algorithm = draw.inputs
    assert tf.get_static_value(algorithm) == tf.random.Algorithm.PHILOX.value


@pytest.mark.parametrize("rate", [0, 1])
def test_all_or_nothing(rate):
    np.testing.assert_array_equal(Dropout(rate)(ONES, training=True), ONES * (1 - rate))


def test_half_precision_passes_through_in_inference():
    layer = Dropout(0.5, dtype="mixed_bfloat16")
    x = tf.cast(ONES, "bfloat16")
    assert layer(x, training=True).dtype == "bfloat16"
    np.testing.assert_array_equal(layer(x), x)
