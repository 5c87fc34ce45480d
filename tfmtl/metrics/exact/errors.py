"""How far predictions are from labels, row by row and on average."""

import numpy as np

_EPSILON = 1e-7


def log_loss(
    label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The mean of -log p(label), with p kept 1e-7 away from 0 and 1.

    Args:
        label: Array (rows,), 0 or 1; with several classes the class.
        score: Array (rows,), probabilities; or (rows, classes).
        weight: Array (rows,) >= 0. Defaults to 1.

    Example:
    >>> of_classes = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]])
    >>> round(log_loss(np.array([0, 2]), of_classes), 4)  # log 2
    0.6931
    """
    return _mean(row_log_loss(label, score), weight)


def row_log_loss(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Each row's part of `log_loss`, an array (rows,)."""
    score = np.clip(np.asarray(score, np.float64), _EPSILON, 1 - _EPSILON)
    if score.ndim == 2:
        return -np.log(score[np.arange(len(score)), np.asarray(label, int)])
    return -(label * np.log(score) + (1 - label) * np.log1p(-score))


def normalized_entropy(
    label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The log-loss over that of always predicting the mean label; NaN of one class.

        NE = log-loss / -(q log q + (1 - q) log(1 - q)),  q = mean label
        NE = log-loss / -sum_k q_k log q_k,  q_k the share of class k

    Below 1 is better than the mean. Arguments as of `log_loss`.

    Example:
    >>> round(normalized_entropy(np.array([1, 0]), np.array([0.75, 0.25])), 4)
    0.415

    References:
        - [He et al., 2014](https://doi.org/10.1145/2648584.2648589), eq. 3.
    """
    background = label_entropy(label, score, weight)
    return log_loss(label, score, weight) / background if background else float("nan")


def label_entropy(label, score, weight=None) -> float:
    """The log-loss of always predicting the classes' shares; arguments as above."""
    shares = label_shares(label, score, weight)
    return float(-sum(q * np.log(q) for q in shares if q > 0))


def label_shares(label, score, weight=None) -> np.ndarray:
    """The share of each class among the labels, (classes,)."""
    if np.ndim(score) == 1:
        mean = _mean(label, weight)
        return np.array([1 - mean, mean])
    classes = np.arange(np.shape(score)[1])
    return np.array([_mean(np.asarray(label) == k, weight) for k in classes])


def accuracy(
    label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The share of rows whose likeliest class is the label; NaN without rows.

    Args:
        label: Array (rows,), the class.
        score: Array (rows, classes).
        weight: Array (rows,) >= 0. Defaults to 1.
    """
    return _mean(row_accuracy(label, score), weight)


def row_accuracy(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Whether each row's class is found, 1 or 0; of ties the first class."""
    return (np.argmax(score, axis=1) == np.asarray(label)).astype(np.float64)


def calibration(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The sum of predictions over the sum of labels: 1 is right on average.

    Above 1 the model predicts too much. NaN where the labels sum to 0.

    References:
        - [He et al., 2014](https://doi.org/10.1145/2648584.2648589), section 2.
    """
    observed = _mean(label, weight)
    if not observed:
        return float("nan")
    return _mean(prediction, weight) / observed


def calibration_bins(
    label: np.ndarray,
    score: np.ndarray,
    bins: int = 10,
    weight: np.ndarray | None = None,
) -> list[list[float]]:
    """[mean prediction, mean label, rows] for equally large groups by prediction.

    The points of a reliability plot: on the diagonal, predictions are right on average.
    """
    if weight is not None:
        kept = np.asarray(weight) > 0
        label, score, weight = label[kept], score[kept], np.asarray(weight)[kept]
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    of = (lambda part: None) if weight is None else (lambda part: weight[part])
    return [
        [_mean(score[part], of(part)), _mean(label[part], of(part)), len(part)]
        for part in parts
    ]


def expected_calibration_error(
    label: np.ndarray, score: np.ndarray, bins: int = 10
) -> float:
    """The mean over the rows of |mean prediction - mean label| of their bin.

    With bins of equally many rows, see `calibration_bins`. NaN of no rows.
    """
    found = np.array(calibration_bins(label, score, bins)).reshape(-1, 3)
    return _mean(np.abs(found[:, 0] - found[:, 1]), found[:, 2])


def mae(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The mean absolute error."""
    return _mean(np.abs(np.subtract(prediction, label, dtype=np.float64)), weight)


def rmse(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The root of the mean squared error."""
    error = np.subtract(prediction, label, dtype=np.float64)
    return float(np.sqrt(_mean(error * error, weight)))


def poisson_deviance(
    label: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The mean of 2 (y log(y / p) - y + p), p kept above 1e-7; 0 is perfect."""
    label = np.asarray(label, np.float64)
    p = np.maximum(np.asarray(prediction, np.float64), _EPSILON)
    part = label * np.log(np.where(label > 0, label, 1) / np.where(label > 0, p, 1))
    return _mean(2 * (part - label + p), weight)


def _mean(values, weight=None) -> float:
    values = np.asarray(values, np.float64)
    if weight is None:
        return float(values.mean()) if len(values) else float("nan")
    weight = np.asarray(weight, np.float64)
    total = weight.sum()
    values = np.where(weight > 0, values, 0)  # NaN times 0 is NaN
    return float((values * weight).sum() / total) if total else float("nan")
