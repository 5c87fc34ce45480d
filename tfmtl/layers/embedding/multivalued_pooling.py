"""Several vectors a row as one, whatever their order."""

from keras import ops


def pool(vectors, weights, pooling):
    """Returns (batch, dim): the vectors of each row as one.

    Args:
        vectors: (batch, length, dim).
        weights: (batch, length), at least 0. Vectors of weight 0 are left out.
        pooling: "mean", "sum", "sqrtn" or "max", see `tfmtl.Multivalued`. By "max", a
            weight tells no more than whether a vector counts.

    Example:
    >>> vectors = ops.array([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]])
    >>> pool(vectors, ops.array([[3.0, 1.0, 0.0]]), "mean").numpy()
    array([[1.5, 3. ]], dtype=float32)
    """
    if pooling == "max":
        present = ops.expand_dims(weights > 0, 2)  # (B, L, 1)
        least = ops.full_like(vectors, float("-inf"))
        largest = ops.max(ops.where(present, vectors, least), axis=1)
        return ops.where(ops.any(present, axis=1), largest, ops.zeros_like(largest))
    # A product with the row of weights, without a (B, L, D) temporary.
    total = ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), vectors), 1)  # (B, D)
    if pooling == "sum":
        return total
    size = ops.sum(weights, axis=1, keepdims=True)
    if pooling == "sqrtn":
        largest = ops.max(weights, axis=1, keepdims=True)
        shares = weights / ops.where(largest > 0, largest, ops.ones_like(largest))
        squares = ops.sum(ops.square(shares), axis=1, keepdims=True)
        size = largest * ops.sqrt(squares)  # whose squares could be 0 or infinite
    return total / ops.where(size > 0, size, ops.ones_like(size))
