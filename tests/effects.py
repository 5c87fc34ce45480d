"""All that an argument of a layer or a model can change."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfmtl.layers.blocks.gates import record_gates
from tfmtl.layers.blocks.virtual_gradient import batch_correlation


def randomise(layer, seed=0):
    """Draws every trainable weight, biases too, which else start at 0.

    Without it no comparison of outputs sees where a bias is added. What sums up many
    inputs gets small weights: probabilities of 0 and 1 would not tell models apart.
    """
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        small = min(1, 16 / math.prod(weight.shape[:-1]))
        drawn = rng.normal(0.1 * small, 0.4 * small**0.5, weight.shape)
        weight.assign(drawn.astype("float32"))


def redraw(layer):
    """Lets a layer draw the same noise again."""
    for part in layer._flatten_layers():
        generator = getattr(part, "seed_generator", None)
        if generator is not None:
            generator.state.assign(keras.random.SeedGenerator(1).state)


def run(layer, inputs, training):
    """Returns the outputs, the same noise drawn each time."""
    redraw(layer)
    outputs = tf.nest.flatten(layer(*inputs, training=training))
    return [np.asarray(x, "float32") for x in outputs]


def effects(make, inputs):
    """Yields what can be seen of a layer, the cheapest first: pairs (name, arrays).

    Args:
        make: Function that returns the layer.
        inputs: List. Its positional arguments, tensors.
    """
    keras.utils.set_random_seed(3)
    layer = make()
    with record_gates() as gates:
        outputs = layer(*inputs)
    yield "shape", [np.array(w.shape) for w in layer.weights]
    yield "initial", [np.asarray(w) for w in layer.trainable_weights]
    # Not what the layer itself is called, which Keras counts.
    yield (
        "labels",
        [
            np.array([*path.split("/")[1:], *labels])
            for path, (_, labels) in gates.items()
        ],
    )
    yield "output shape", [np.array(x.shape) for x in tf.nest.flatten(outputs)]
    randomise(layer)
    yield "inference", run(layer, inputs, False)
    yield "training", run(layer, inputs, True)
    tasks = len(getattr(layer, "tasks", "1"))
    correlation = batch_correlation(keras.ops.full((tasks, tasks), 0.4))
    with tf.GradientTape() as tape, correlation:  # which a virtual gradient reads
        outputs = tf.nest.flatten(layer(*inputs, training=False))
        loss = sum(
            tf.reduce_sum(x * tf.random.stateless_normal(x.shape, (1, i)))
            for i, x in enumerate(outputs)
        )
    yield "losses", [np.asarray(loss) for loss in layer.losses]
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    yield (
        "gradients",
        [np.asarray(tf.convert_to_tensor(g)) for g in gradients if g is not None],
    )


def change(a, b):
    """Returns the first kind of effect in which two layers differ, or None.

    Args:
        a: Iterator, `effects` of one layer.
        b: Iterator, `effects` of the other.
    """
    for (kind, one), (_, other) in zip(a, b, strict=False):
        if len(one) != len(other) or not all(map(_same, one, other)):
            return kind
    return None


def _same(a, b):
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "U":
        return bool((a == b).all())
    return np.allclose(a, b, rtol=1e-5, atol=1e-6)


def fingerprint(layer, inputs):
    """Returns a few numbers that any change of a formula moves.

    Weights are drawn in their order, so numbers of one machine are those of another.

    Args:
        layer: Layer or model.
        inputs: List. Its positional arguments, tensors.

    Returns:
        List of floats: one an output, that of the losses, and that of the gradients.
    """
    layer(*inputs)
    randomise(layer)
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(layer(*inputs, training=False))
        sums = [weighed(tf.cast(x, "float32"), i) for i, x in enumerate(outputs)]
        total = sum(sums)
    losses = sum(float(loss) for loss in layer.losses)
    gradients = tape.gradient(total, [w.value for w in layer.trainable_weights])
    return [*map(float, sums), losses, weighed_gradient(gradients)]


def weighed(x, seed):
    """Returns the sum of a tensor's numbers, each times a random one of its own."""
    weights = np.random.default_rng(seed).normal(size=x.shape).astype("float32")
    return tf.reduce_sum(x * weights)


def weighed_gradient(gradients):
    """Returns one number of a list of gradients; None counts as 0."""
    return sum(
        float(weighed(tf.convert_to_tensor(g), i))
        for i, g in enumerate(gradients)
        if g is not None
    )
