"""A model small enough to train by hand: two tasks, two parameters, both shared.

The prediction of a row is theta . x for either task, and a batch has one row of each
task. With theta = 0 and the label -1/2, the loss of a row is 1/4 and its gradient x.
"""

import keras
import numpy as np
from keras import ops

import tfmtl

NAN = float("nan")


@keras.saving.register_keras_serializable("tests")
class Plane(keras.layers.Layer):
    """Maps x to {task: theta . x}."""

    def build(self, input_shape):
        self.theta = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", name="theta"
        )

    def call(self, inputs):
        score = ops.sum(inputs * self.theta, axis=-1, keepdims=True)
        return {"u": score, "v": score}


@keras.saving.register_keras_serializable("tests")
class TwoParameters(tfmtl.MultiTaskModel):
    """Predicts theta . x, or its sigmoid."""

    def __init__(self, features, tasks, name="two_parameters"):
        super().__init__(features, tasks, Plane(name="sharing"), name=name)

    def make_tower(self, task, units, logits=1):
        return keras.layers.Identity(name=f"{task}_tower")

    @property
    def theta(self):
        return self.sharing.theta.numpy()


def model(
    loss_weighting, rate=0.1, weights=(1, 1), kinds=("regression",) * 2, **options
):
    """Returns the model, compiled with SGD and run eagerly."""
    tasks = [
        tfmtl.Task(name, kind=kind, weight=weight)
        for name, kind, weight in zip("uv", kinds, weights, strict=True)
    ]
    made = TwoParameters([tfmtl.Numeric("p"), tfmtl.Numeric("q")], tasks)
    options = {"run_eagerly": True, **options}
    made.compile(keras.optimizers.SGD(rate), loss_weighting, **options)
    return made


def batch(u=(1.0, 0.0), v=(0.0, 1.0), labels=(-0.5, -0.5)):
    """Returns a row with x = u for task u, and one with x = v for task v."""
    p, q = np.array([u, v], "float32").T
    u, v = labels
    return {"p": p, "q": q}, {"u": np.float32([u, NAN]), "v": np.float32([NAN, v])}
