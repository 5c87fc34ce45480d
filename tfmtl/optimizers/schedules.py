"""Schedules of learning rates by name, in epochs."""

import inspect

import keras
from keras import ops
from keras.optimizers import schedules

from tfmtl import _errors


@keras.saving.register_keras_serializable("tfmtl")
class WarmUp(schedules.LearningRateSchedule):
    """A rate that rises from 0 along a line, and then goes on as another schedule.

    Args:
        after: Float or `keras.optimizers.schedules.LearningRateSchedule`, whose step 0
            is the end of the warm-up.
        steps: Integer above 0. Steps of the warm-up.
        name: String. Defaults to "WarmUp".

    Example:
    >>> schedule = WarmUp(0.1, steps=4)
    >>> [round(float(schedule(step)), 3) for step in (0, 1, 4, 9)]
    [0.0, 0.025, 0.1, 0.1]
    """

    def __init__(self, after, steps, name="WarmUp"):
        super().__init__()
        _errors.check_positive("steps", steps)
        self.after = after
        self.steps = steps
        self.name = name

    def __call__(self, step):
        """Returns the rate of a step."""
        step = ops.cast(step, "float32")
        share = ops.minimum(step / self.steps, 1.0)
        if callable(self.after):
            return share * self.after(ops.maximum(step - self.steps, 0.0))
        return share * self.after

    def get_config(self):
        """Returns every argument."""
        after = self.after
        if callable(after):
            after = keras.saving.serialize_keras_object(after)
        return {"after": after, "steps": self.steps, "name": self.name}

    @classmethod
    def from_config(cls, config):
        """Makes a schedule of what `get_config` returned."""
        after = config["after"]
        if isinstance(after, dict):
            after = keras.saving.deserialize_keras_object(after)
        return cls(**{**config, "after": after})


def _constant(rate, steps, of_epoch):
    return rate


def _cosine(rate, steps, of_epoch, least=0.0):
    _errors.check_ratio("least", least)
    return schedules.CosineDecay(rate, steps, alpha=least)


def _linear(rate, steps, of_epoch, least=0.0):
    _errors.check_ratio("least", least)
    return schedules.PolynomialDecay(rate, steps, end_learning_rate=least * rate)


def _exponential(rate, steps, of_epoch, factor=0.9):
    _errors.check_number("factor", factor)
    return schedules.ExponentialDecay(rate, of_epoch, factor)


def _step(rate, steps, of_epoch, factor=0.1, every=1):
    _errors.check_number("factor", factor)
    _errors.check_positive("every", every)
    return schedules.ExponentialDecay(rate, every * of_epoch, factor, staircase=True)


def _piecewise(rate, steps, of_epoch, at=(), factors=()):
    if (
        not at
        or len(at) != len(factors)
        or not all(_errors.is_number(n) and n >= 0 for n in (*at, *factors))
        or list(at) != sorted(set(at))
    ):
        raise ValueError(
            "piecewise needs rising epochs `at`, and for each of them a factor >= 0 "
            f"that holds from it on. Received: at={at!r}, factors={factors!r}."
        )
    ends = [round(epoch * of_epoch) - 1 for epoch in at]  # Keras's include their end
    values = [float(rate * factor) for factor in (1, *factors)]
    return schedules.PiecewiseConstantDecay(ends, values)


_SCHEDULES = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "exponential": _exponential,
    "step": _step,
    "piecewise": _piecewise,
}


def scheduled(
    optimizer: keras.optimizers.Optimizer,
    name: str,
    epochs: int,
    steps_per_epoch: int,
    warmup: float = 0.0,
    **options,
) -> keras.optimizers.Optimizer:
    """Lets an optimizer's learning rate, or both of those of `split`, change by steps.

    Each starts from the rate that it has. What a step's rate is follows from the number
    of steps done, which is saved with the optimizer.

    Args:
        optimizer: Optimizer with a learning rate that is a number.
        name: String. "constant"; "cosine" and "linear", which fall to `least` (0) times
            the rate by the end; "exponential", which falls by `factor` (0.9) in an
            epoch; "step", which falls by `factor` (0.1) at once after `every` (1)
            epochs; or "piecewise", which from the epochs `at` on has `factors` times
            the rate: `at=[2, 4], factors=[0.3, 0.1]`.
        epochs: Integer. Of the whole training.
        steps_per_epoch: Integer. Batches.
        warmup: Float. Epochs in which the rate rises from 0 along a line, and behind
            which the schedule begins. Defaults to 0.
        **options: Of the schedule, see `name`.

    Returns:
        The same optimizer.

    Raises:
        ValueError: If there is no such schedule or option, or the warm-up takes the
            whole training.

    Example:
    >>> import tfmtl
    >>> adam = scheduled(
    ...     tfmtl.optimizers.LazyAdam(0.01),
    ...     "cosine",
    ...     epochs=3,
    ...     steps_per_epoch=100,
    ...     warmup=0.5,
    ... )
    >>> _ = adam.iterations.assign(25)
    >>> round(float(adam.learning_rate), 6)
    0.005
    """
    _errors.check_choice("schedule", name, _SCHEDULES)
    known = [*inspect.signature(_SCHEDULES[name]).parameters][3:]
    for key in options:
        _errors.check_choice(f"An option of {name}", key, ["warmup", *known])
    _errors.check_number("warmup", warmup)
    if warmup and warmup >= epochs:
        raise ValueError(
            f"warmup must be less than all {epochs} epochs. Received: {warmup!r}."
        )
    first = round(warmup * steps_per_epoch)
    steps = epochs * steps_per_epoch - first
    for each in getattr(optimizer, "optimizers", [optimizer]):
        if callable(each._learning_rate):
            raise ValueError(
                f"A schedule needs a learning rate that is a number. Received: "
                f"{each.name} with {each._learning_rate!r}."
            )
        # Not by itself: several workers have a variable that is no number.
        rate = float(keras.ops.convert_to_numpy(each.learning_rate))
        after = _SCHEDULES[name](rate, steps, steps_per_epoch, **options)
        if first or name != "constant":
            each.learning_rate = WarmUp(after, first) if first else after
    return optimizer
