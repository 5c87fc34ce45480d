"""Calibration: predictions that are right on average, fitted after the training.

A loss need not be least where a prediction is the mean, and a model that has learnt
from sampled rows, or long ago, predicts another rate than there is. A calibration maps
the predictions of one task to better ones without changing their order:

    scale      p' = s p
    platt      logit p' = a logit p + b,  a > 0
    isotonic   p' = f(p),  f the best function that rises

It is fitted on rows that the model has not learnt from, by `model.calibrate`.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

OF_KIND = {
    "binary": ("none", "platt", "isotonic"),
    "regression": ("none", "scale", "isotonic"),
    "count": ("none", "scale", "isotonic"),
}
_KNOTS = 100
_OWN = 0.01  # share of the prediction itself in an isotonic calibration
_STEP = 0.003  # of a score; what rises, rises over no less
_TINY = 1.2e-38  # the least normal float32
_NEARLY_ONE = 1 - 2.0**-24  # the largest float32 below 1
_KEPT = 2**20  # rows that are kept before neighbours are pooled
_POOLED = 2**16


class Calibration(keras.layers.Layer):
    """A rising map of predictions, (batch, 1) to (batch, 1); at first the identity.

    Its weights are not trainable. It computes in float32, under mixed precision too.
    """

    identity: dict[str, float | np.ndarray]  # weights at the start
    least = 10  # rows of each class, or with a label that is not 0, to be fitted on

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        """Creates the weights."""
        for name, value in self.identity.items():
            weight = self.add_weight(
                shape=np.shape(value),
                initializer=lambda shape, dtype, value=value: ops.cast(value, dtype),
                trainable=False,
                name=name,
            )
            setattr(self, name, weight)

    def reset(self):
        """Makes it the identity again."""
        self.assign(self.identity)

    def assign(self, values):
        """Sets the weights, {name: number or array}."""
        for name, value in values.items():
            getattr(self, name).assign(value)

    def fit(self, score, label, weight):
        """Sets the weights to what suits the rows best.

        Args:
            score: Float64 array of shape (rows,). Predictions, each once, rising.
            label: Float64 array of shape (rows,). Their mean label.
            weight: Float64 array of shape (rows,). Their weight, above 0.

        Raises:
            ValueError: If there is no such map that rises. It says why.
        """
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape


@keras.saving.register_keras_serializable("tfmtl")
class Scale(Calibration):
    """One factor for all predictions, so that their total is that of the labels.

        p' = s p,  s = sum_i w_i y_i / sum_i w_i p_i

    What a model of log(1 + y) gives back is the geometric mean, too low by as much as
    the residuals spread. Smearing (Duan) mends it by the mean of exp(residual), a
    normal distribution by exp(sigma^2 / 2). Both hold only if residuals are spread
    alike whatever is predicted, the second only if they are normal too; watch times are
    neither. The ratio of totals is right in total whatever the residuals are like. A
    factor leaves every ranking as it is.

    References:
        - [Smearing Estimate, Duan 1983](https://doi.org/10.1080/01621459.1983.10478017)
    """

    identity = {"scale": 1.0}

    def fit(self, score, label, weight):
        """Sets s, see `Calibration`."""
        ratio = _ratio(weight @ label, weight @ score)
        if not 0 < ratio < np.inf:
            raise ValueError(
                f"no factor above 0 makes the total of the predictions, "
                f"{weight @ score:.4g}, that of the labels, {weight @ label:.4g}"
            )
        self.assign({"scale": ratio})

    def call(self, inputs):
        """Maps (batch, 1) to (batch, 1)."""
        return inputs * self.scale


@keras.saving.register_keras_serializable("tfmtl")
class Platt(Calibration):
    """A line over the logit of a probability, by maximum likelihood.

        p' = sigmoid(a logit p + b),  a > 0

    The mean of p' is that of the labels. Platt's prior on the labels would shift it, so
    that scores that separate the classes are held by a weak penalty on (a - 1)^2
    instead. The logit is found from p, so that it is coarse where float32 is, from
    p = 0.999 on.

    References:
        - Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """

    identity = {"slope": 1.0, "offset": 0.0}

    def fit(self, score, label, weight):
        """Sets a and b by Newton's method, see `Calibration`."""
        z = np.clip(score, _TINY, _NEARLY_ONE)
        z = np.log(z) - np.log1p(-z)
        columns = np.stack([z, np.ones_like(z)])
        penalty = np.array([1e-3, 0.0])

        def cost(line):
            logit = line @ columns
            off = line - [1.0, 0.0]
            loss = weight @ (np.logaddexp(0, logit) - label * logit)
            return loss + penalty @ off**2 / 2

        rate = weight @ label / weight.sum()
        line = np.array([0.0, np.log(rate) - np.log1p(-rate)])
        for _ in range(100):
            p = _sigmoid(line @ columns)
            gradient = columns @ (weight * (p - label)) + penalty * (line - 1)
            hessian = (columns * (weight * p * (1 - p))) @ columns.T + np.diag(penalty)
            step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
            while cost(line - step) > cost(line) and np.abs(step).max() > 1e-12:
                step = step / 2
            line = line - step
            if np.abs(step).max() < 1e-10:
                break
        if not line[0] > 0:
            raise ValueError(
                "labels do not rise with the predictions: the best slope is "
                f"{line[0]:.3g}"
            )
        self.assign({"slope": line[0], "offset": line[1]})

    def call(self, inputs):
        """Maps probabilities (batch, 1) to (batch, 1)."""
        p = ops.clip(inputs, _TINY, _NEARLY_ONE)
        logit = ops.log(p) - ops.log1p(-p)
        return ops.sigmoid(self.slope * logit + self.offset)


@keras.saving.register_keras_serializable("tfmtl")
class Isotonic(Calibration):
    """The rising function that fits best: straight lines between at most 100 knots.

        p' = (1 - e) f(p) + e p min(s, 1),   e = 0.01, s as in `Scale`

    Pool adjacent violators finds blocks of scores and their mean labels; f goes in
    straight lines through the blocks' means, as in centered isotonic regression, and is
    constant beyond the first and the last; the whole is scaled to the labels' total.
    The share of p itself keeps scores apart that differ, as far as float32 can, and a
    probability from being 0 for sure. Rows come to it in up to 1000 groups, of 30 where
    there are enough.

    Unlike one factor or one line, it needs some thousand rows: it follows noise.

    Args:
        highest: Float. The largest possible prediction, such as 1 of a probability.
            Defaults to none.

    References:
        - [Centered isotonic regression](https://arxiv.org/abs/1701.05964)
        - [Zadrozny and Elkan, 2002](https://doi.org/10.1145/775047.775151)
    """

    identity = {
        "own": 1.0,
        "offset": 0.0,
        "starts": np.zeros(_KNOTS - 1),
        "widths": np.ones(_KNOTS - 1),
        "rises": np.zeros(_KNOTS - 1),
    }
    least = 100

    def __init__(self, highest=None, **kwargs):
        super().__init__(**kwargs)
        self.highest = highest

    def fit(self, score, label, weight):
        """Sets the knots, see `Calibration`."""
        ratio = _ratio(weight @ label, weight @ score)
        own = _OWN * (ratio if 0 < ratio < 1 else 1)
        most = min(max(len(score) // 30, _KNOTS), 1000)
        rows = pool_neighbours(score, label, weight, most)
        x, y, size = _means(pool_adjacent_violators(*rows[1:]), *rows)
        if len(x) > _KNOTS:  # a knot for so many rows, or for such a rise
            size = size / size.sum() + np.gradient(y) / (y[-1] - y[0])
            x, y, _ = _means(_even_groups(size, _KNOTS), x, y, size)
        lines = weight @ np.interp(score, x, y)
        share = _ratio(weight @ label - own * (weight @ score), lines)
        # Lines do not keep the total; of labels around 0 it says nothing.
        y = y * (share if 0.5 < share < 2 else 1 - _OWN)
        free = (0, _KNOTS - len(x))
        # Nothing is so steep that the last bits of a score decide.
        widths = np.maximum(np.diff(x), _STEP * np.abs(x[:-1]) + _TINY)
        self.assign(
            {
                "own": own,
                "offset": y[0],
                "starts": np.pad(x[:-1], free),
                "widths": np.pad(widths, free, constant_values=1),
                "rises": np.pad(np.diff(y), free),
            }
        )

    def call(self, inputs):
        """Maps (batch, 1) to (batch, 1)."""
        passed = ops.clip((inputs - self.starts) / self.widths, 0, 1)  # (B, pieces)
        rises = ops.sum(self.rises * passed, axis=-1, keepdims=True)
        p = self.own * inputs + self.offset + rises
        return p if self.highest is None else ops.clip(p, 0, self.highest)

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "highest": self.highest}


def make(task) -> Calibration | None:
    """Returns a new calibration of the task; None if it is to have none."""
    name = f"{task.name}_calibration"
    if task.calibration == "isotonic":
        return Isotonic(1.0 if task.kind == "binary" else None, name=name)
    methods = {"scale": Scale, "platt": Platt}
    return methods[task.calibration](name=name) if task.calibration in methods else None


def calibrate(model, data) -> dict[str, dict]:
    """See `MultiTaskModel.calibrate`."""
    tasks = [task for task in model.tasks if task.name in model.calibrations]
    model.reset_calibrations()

    @tf.function(reduce_retracing=True)
    def rows_of(x, y, sample_weight):
        predictions = model(x, training=False)
        rows = model._rows(x, y, sample_weight)
        return {
            task.name: tf.stack(
                [tf.squeeze(predictions[task.name], -1), *rows[task.name]]
            )
            for task in tasks
        }

    rows = {task.name: _Rows() for task in tasks}
    for batch in data if tasks else ():
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            raise ValueError(
                "A calibration needs a dataset of (features, labels), or (features, "
                "labels, sample_weight). Received: one without labels."
            )
        for name, found in rows_of(x, y, sample_weight).items():
            rows[name].add(*found.numpy())
    report = {}
    for task in tasks:
        layer, of_task = model.calibrations[task.name], rows[task.name]
        score, label, weight = of_task.pooled()
        reason = of_task.lacking(task.kind, layer.least)
        if not reason:
            try:
                layer.fit(score, label, weight)
            except ValueError as error:
                reason = str(error)
        after = np.asarray(layer(score[:, None].astype("float32")))[:, 0]
        report[task.name] = {
            "method": task.calibration,
            "rows": of_task.rows,
            "before": _ratio(weight @ score, weight @ label),
            "after": _ratio(weight @ after.astype("float64"), weight @ label),
            **({"reason": reason} if reason else {}),
        }
    return report


class _Rows:
    """Rows of one task, of which neighbours are pooled once there are a million."""

    def __init__(self):
        self.rows = self.positives = self.negatives = 0
        self.finite = True
        self._parts = []
        self._kept = 0

    def add(self, score, label, weight):
        """Takes in rows; one of weight 0 is none."""
        inside = weight > 0
        part = np.stack([score, label, weight]).astype("float64")[:, inside]
        self.rows += part.shape[1]
        self.positives += int(np.count_nonzero(part[1]))
        self.negatives = self.rows - self.positives
        finite = np.isfinite(part).all(axis=0)
        self.finite = self.finite and bool(finite.all())
        self._parts.append(part[:, finite])
        self._kept += part.shape[1]
        if self._kept > _KEPT:
            self._parts = [np.stack(self.pooled())]
            self._kept = self._parts[0].shape[1]

    def pooled(self):
        """Returns score, mean label and weight, one a score, rising."""
        rows = np.concatenate([np.zeros((3, 0)), *self._parts], axis=1)
        return pool_neighbours(*rows, _POOLED)

    def lacking(self, kind, least):
        """Says why nothing can be fitted on these rows; "" if it can."""
        if not self.finite:
            return "not all predictions and labels are finite"
        if kind == "binary" and min(self.positives, self.negatives) < least:
            return (
                f"it needs {least} positives and {least} negatives, and got "
                f"{self.positives} and {self.negatives}"
            )
        if self.positives < least:
            return (
                f"it needs {least} rows with a label that is not 0, and got "
                f"{self.positives} of {self.rows}"
            )
        return ""


def pool_neighbours(score, label, weight, most):
    """Pools rows of one score, and neighbours if there are more scores than `most`.

    Args:
        score: Array of shape (rows,).
        label: Array of shape (rows,).
        weight: Array of shape (rows,), above 0.
        most: Integer. How many groups there may be; those of neighbours weigh about
            the same.

    Returns:
        Mean score, rising, mean label, and weight of each group.

    Example:
    >>> score, label, weight = pool_neighbours([3, 1, 3], [1, 0, 0], [1, 1, 3], most=2)
    >>> score.tolist(), label.tolist(), weight.tolist()
    ([1.0, 3.0], [0.0, 0.25], [1.0, 4.0])
    """
    score, label, weight = (np.asarray(x, "float64") for x in (score, label, weight))
    scores, group = np.unique(score, return_inverse=True)
    if len(scores) > most:
        group = _even_groups(np.bincount(group, weight), most)[group]
    return _means(group, score, label, weight)


def _even_groups(size, most):
    """Returns the number of each one's group: neighbours of about the same size."""
    middle = np.cumsum(size) - size / 2
    share = (middle / size.sum() * most).astype(int)
    return np.unique(share, return_inverse=True)[1]


def _means(group, score, label, weight):
    """Returns mean score, mean label and weight of each group."""
    total = np.bincount(group, weight)
    means = (np.bincount(group, weight * x) / total for x in (score, label))
    return *means, total


def pool_adjacent_violators(label, weight):
    """Returns the number of each row's block of the function that rises and fits best.

    Args:
        label: Array of shape (rows,), in the order of the scores.
        weight: Array of shape (rows,), above 0.

    Example:
    >>> pool_adjacent_violators(np.array([1, 3, 2, 6]), np.ones(4)).tolist()
    [0, 1, 1, 2]
    """
    means, weights, sizes = [], [], []
    for mean, total in zip(label.tolist(), weight.tolist(), strict=True):
        size = 1
        while means and means[-1] >= mean:
            before, size = weights.pop(), size + sizes.pop()
            mean = (means.pop() * before + mean * total) / (before + total)
            total += before
        means.append(mean)
        weights.append(total)
        sizes.append(size)
    return np.repeat(np.arange(len(sizes)), sizes)


def _ratio(a, b):
    return float(a / b) if b else float("nan")


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))
