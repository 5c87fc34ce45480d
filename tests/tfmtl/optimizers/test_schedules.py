"""Learning rates of single steps, by hand, and after a model was saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmtl import optimizers

NEEDS_TWO = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"),
    reason="this Keras, the last for Python 3.10, has no MultiOptimizer",
)


def _rates(steps, name, rate=0.8, **options):
    """The rates of steps, of 3 epochs of 4 steps."""
    made = optimizers.scheduled(
        optimizers.SparseSGD(rate), name, epochs=3, steps_per_epoch=4, **options
    )
    # As a loaded model has it.
    config = keras.saving.serialize_keras_object(made)
    again = keras.saving.deserialize_keras_object(config)
    found = []
    for step in steps:
        for optimizer in (made, again):
            optimizer.iterations.assign(step)
        found.append(float(again.learning_rate))
        assert float(made.learning_rate) == found[-1]
    return found


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("constant", {}, {0: 0.8, 11: 0.8}),
        ("cosine", {}, {0: 0.8, 6: 0.4, 12: 0.0}),
        ("cosine", {"least": 0.5}, {0: 0.8, 6: 0.6, 12: 0.4}),
        ("linear", {"least": 0.25}, {0: 0.8, 3: 0.65, 12: 0.2, 20: 0.2}),
        ("exponential", {"factor": 0.25}, {0: 0.8, 2: 0.4, 4: 0.2, 8: 0.05}),
        ("step", {"factor": 0.5}, {0: 0.8, 3: 0.8, 4: 0.4, 7: 0.4, 8: 0.2}),
        ("step", {"factor": 0.5, "every": 2}, {7: 0.8, 8: 0.4}),
        (
            "piecewise",
            {"at": [1, 2.5], "factors": [0.5, 0.25]},
            {3: 0.8, 4: 0.4, 9: 0.4, 10: 0.2},
        ),
        # Two steps of warm-up; then what is left of the schedule.
        ("constant", {"warmup": 0.5}, {0: 0.0, 1: 0.4, 2: 0.8, 9: 0.8}),
        ("cosine", {"warmup": 0.5}, {0: 0.0, 1: 0.4, 2: 0.8, 7: 0.4, 12: 0.0}),
        ("step", {"warmup": 1, "factor": 0.5}, {1: 0.2, 4: 0.8, 7: 0.8, 8: 0.4}),
    ],
)
def test_rates_by_hand(name, options, wanted):
    found = _rates(wanted, name, **options)
    np.testing.assert_allclose(found, list(wanted.values()), rtol=1e-6, atol=1e-8)


@NEEDS_TWO
def test_both_parts_of_a_split_follow_it_from_their_own_rates():
    parts = {
        "tables": {"name": "sparse_sgd", "learning_rate": 0.5},
        "dense": {"name": "sgd", "learning_rate": 0.25},
    }
    optimizer = optimizers.get("split", **parts)
    optimizers.scheduled(optimizer, "linear", epochs=1, steps_per_epoch=2)
    with keras.name_scope("embedding"):
        table = keras.Variable(np.zeros((3, 1), "float32"), name="table_1")
    kernel = keras.Variable(np.zeros((3, 1), "float32"), name="kernel")
    for _ in range(2):  # the whole rate, then half of it
        rows = tf.IndexedSlices(tf.ones((1, 1)), [0], (3, 1))
        optimizer.apply([rows, tf.ones((3, 1))], [table, kernel])
    np.testing.assert_allclose(table, [[-0.75], [0], [0]])
    np.testing.assert_allclose(kernel, np.full((3, 1), -0.375))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosin", {}, "schedule must be one of .* Did you mean 'cosine'"),
        ("cosine", {"leest": 1}, "An option of cosine .* Did you mean 'least'"),
        ("cosine", {"least": 2}, r"least must be in \[0, 1\]. Received: 2"),
        ("cosine", {"warmup": 3}, "warmup must be less than all 3 epochs"),
        ("step", {"every": 0}, "every must be a positive integer"),
        ("piecewise", {}, r"rising epochs `at`.*Received: at=\(\)"),
        ("piecewise", {"at": [2, 1], "factors": [1, 2]}, "rising epochs"),
        ("piecewise", {"at": [2], "factors": [1, 2]}, "for each of them a factor"),
    ],
)
def test_what_is_no_schedule_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        _rates([0], name, **options)


def test_a_schedule_is_not_put_upon_another():
    sgd = optimizers.SparseSGD(keras.optimizers.schedules.CosineDecay(0.1, 9))
    with pytest.raises(ValueError, match="needs a learning rate that is a number"):
        optimizers.scheduled(sgd, "cosine", epochs=1, steps_per_epoch=1)


def test_a_split_needs_both_parts():
    with pytest.raises(ValueError, match="`tables` and one for `dense`.*: learning_"):
        optimizers.get("split", learning_rate=0.1)
