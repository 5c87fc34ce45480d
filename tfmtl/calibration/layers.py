"""Maps of predictions with one number or two: a factor, a line over the logit."""

import keras
import numpy as np
from keras import ops

from tfmtl.calibration.rows import ratio_of

_TINY = 1.2e-38  # the least normal float32
_NEARLY_ONE = 1 - 2.0**-24  # the largest float32 below 1


class Calibration(keras.layers.Layer):
    """A rising map of predictions, (batch, 1) to (batch, 1); at first the identity.

    Its weights are not trainable. It computes in float32, under mixed precision too.

    Args:
        domains: Integer. How many domains have a map of their own; which one a row
            belongs to is then its second input. Defaults to one map for all rows.
    """

    identity: dict[str, float | np.ndarray]  # weights at the start
    least = 10  # rows of each class, or with a label that is not 0, to be fitted on

    def __init__(self, domains=None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.domains = domains

    def build(self, input_shape):
        """Creates the weights."""
        lead = () if self.domains is None else (self.domains,)
        for name, value in self.identity.items():
            weight = self.add_weight(
                shape=(*lead, *np.shape(value)),
                initializer=lambda shape, dtype, value=value: ops.broadcast_to(
                    ops.cast(value, dtype), shape
                ),
                trainable=False,
                name=name,
            )
            setattr(self, name, weight)

    def reset(self):
        """Makes it the identity again."""
        self.assign(self.identity)

    def assign(self, values, domain=None):
        """Sets the weights, {name: number or array}: of one domain, or of all."""
        for name, value in values.items():
            weight = getattr(self, name)
            new = np.broadcast_to(value, weight.shape)
            if domain is not None:
                new = np.array(weight)
                new[domain] = value
            weight.assign(new)

    def fit(self, score, label, weight, domain=None):
        """Sets the weights to what suits the rows best.

        Args:
            score: Float64 array of shape (rows,). Predictions, each once, rising.
            label: Float64 array of shape (rows,). Their mean label.
            weight: Float64 array of shape (rows,). Their weight, above 0.
            domain: Integer. The domain whose map it is. Defaults to all.

        Raises:
            ValueError: If there is no such map that rises. It says why.
        """
        self.assign(self.best(score, label, weight), domain)

    def best(self, score, label, weight):
        """Returns the weights that suit the rows best, see `fit`."""
        raise NotImplementedError

    def call(self, inputs, domain=None):
        """Maps (batch, 1), and the domain (batch,) of each row, to (batch, 1)."""
        weights = {name: getattr(self, name) for name in self.identity}
        if domain is not None:
            weights = {
                name: ops.reshape(
                    ops.take(w, domain, axis=0), (-1, w.shape[1] if w.ndim > 1 else 1)
                )
                for name, w in weights.items()
            }
        return self.map(inputs, **weights)

    def map(self, p, **weights):
        """Maps predictions (batch, 1) by weights of shape (batch, n), or of any row."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "domains": self.domains}


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

    def best(self, score, label, weight):
        """Returns s, see `Calibration`."""
        ratio = ratio_of(weight @ label, weight @ score)
        if not 0 < ratio < np.inf:
            raise ValueError(
                f"no factor above 0 makes the total of the predictions, "
                f"{weight @ score:.4g}, that of the labels, {weight @ label:.4g}"
            )
        return {"scale": ratio}

    def map(self, p, scale):
        """See `Calibration`."""
        return p * scale


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

    def best(self, score, label, weight):
        """Returns a and b, by Newton's method, see `Calibration`."""
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
        return {"slope": line[0], "offset": line[1]}

    def map(self, p, slope, offset):
        """See `Calibration`."""
        p = ops.clip(p, _TINY, _NEARLY_ONE)
        logit = ops.log(p) - ops.log1p(-p)
        return ops.sigmoid(slope * logit + offset)


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))
