"""What tables do without: averages of weights, and gradients over several steps.

Both change every entry of a variable, and so are for all that is no table. In a step,
their place is behind the sum over replicas, so that several of them do what one does
with the whole batch.
"""

import re

import keras
import tensorflow as tf

TABLE = r"(.*/)?((sharded_)?table_\d+|embeddings)"
SLOTS = ("average", "gradient_accumulator")  # as Keras names them


def is_table(variable) -> bool:
    """Returns whether a Keras variable is the table of an embedding."""
    return len(variable.shape) == 2 and bool(re.fullmatch(TABLE, variable.path))


def averages(optimizer: keras.optimizers.Optimizer) -> list[tuple]:
    """Returns (variable, average) of what an optimizer, or one within it, averages."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # LossScale
    return [
        pair
        for each in getattr(optimizer, "optimizers", [optimizer])  # MultiOptimizer
        if each.use_ema and each.built
        for pair in _averages(each, each._trainable_variables)
    ]


def _averages(optimizer, variables):
    slots = optimizer._model_variables_moving_average
    pairs = ((v, slots[optimizer._get_variable_index(v)]) for v in variables)
    return [(variable, average) for variable, average in pairs if average is not None]


def take_averages(optimizer, variables) -> None:
    """Gives variables that have an average its value; outside of a replica's step."""
    for variable, average in _averages(optimizer, variables):
        variable.assign(average)


def update_averages(optimizer) -> None:
    """Lets averages follow the weights; overwrites the weights every so many steps.

    average <- momentum average + (1 - momentum) w, with momentum 0 in the first step.
    """
    is_first = tf.equal(optimizer.iterations, 0)
    momentum = tf.where(is_first, 0.0, optimizer.ema_momentum)
    every = optimizer.ema_overwrite_frequency
    overwrite = tf.equal((optimizer.iterations + 1) % (every or 1), 0)

    def update(variable, average, momentum, overwrite):
        kept = tf.cast(momentum, variable.dtype)
        mean = kept * average + (1 - kept) * variable
        average.assign(mean)
        if every:
            variable.assign(tf.where(overwrite, mean, variable))

    pairs = _averages(optimizer, optimizer._trainable_variables)
    on_all_replicas(
        optimizer, update, [(v, (a.value, momentum, overwrite)) for v, a in pairs]
    )


def accumulate(optimizer, gradients, variables) -> None:
    """Updates variables by the mean gradient of every so many steps."""
    every = optimizer.gradient_accumulation_steps
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    values = [variable.value for variable in variables]
    pairs = optimizer._all_reduce_sum_gradients(
        list(zip(gradients, values, strict=True))
    )
    slots = [
        optimizer._accumulated_gradients[optimizer._get_variable_index(v)].value
        for v in variables
    ]
    sums = [
        slot + tf.cast(gradient, slot.dtype)
        for slot, (gradient, _) in zip(slots, pairs, strict=True)
    ]
    means = optimizer._clip_gradients([total / every for total in sums])
    is_last = tf.equal((optimizer._iterations + 1) % every, 0)
    rate = tf.convert_to_tensor(optimizer.learning_rate)

    def update(variable, slot, total, mean, is_last, rate):
        def learn():
            optimizer.update_step(mean, variable, rate)
            slot.assign(tf.zeros_like(total))

        def wait():
            slot.assign(total)

        tf.cond(is_last, learn, wait)

    of_each = zip(variables, slots, sums, means, strict=True)
    on_all_replicas(
        optimizer, update, [(v, (*rest, is_last, rate)) for v, *rest in of_each]
    )


def on_all_replicas(optimizer, update, calls):
    """Calls `update(variable, *arguments)` on every replica, for each of `calls`."""

    def merged(distribution, calls):
        for variable, arguments in calls:
            distribution.extended.update(variable, update, arguments, group=False)

    calls = [(variable.value, arguments) for variable, arguments in calls]
    tf.__internal__.distribute.interim.maybe_merge_call(
        merged, optimizer._distribution_strategy, calls
    )
