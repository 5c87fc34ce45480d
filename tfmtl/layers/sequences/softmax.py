"""A softmax over the items of a sequence, padding left out."""

from keras import ops


def masked_softmax(scores, present):
    """Returns weights that sum to 1 over the items present; zeros where none is.

    Args:
        scores: Tensor (..., length).
        present: Tensor that broadcasts to it. 1 or True where there is an item.

    Example:
    >>> scores = ops.array([[1.0, 1.0, 9.0], [0.0, 0.0, 0.0]])
    >>> masked_softmax(scores, [[1, 1, 0], [0, 0, 0]]).numpy()
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 0. ]], dtype=float32)
    """
    scores = ops.convert_to_tensor(scores)
    # Finite, so that a row without items has no NaN; below what half precision holds.
    scores = ops.where(ops.cast(present, "bool"), scores, -3e4 * ops.ones_like(scores))
    return ops.softmax(scores) * ops.cast(present, scores.dtype)
