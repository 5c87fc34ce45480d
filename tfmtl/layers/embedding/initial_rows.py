"""What the rows of several features' tables, in one variable, start from."""

from keras import ops

PART = 65_536  # rows that are drawn at a time


def as_tables(initializer, sizes):
    """Returns an initializer that treats each feature's rows as a table.

    Args:
        initializer: Keras initializer.
        sizes: List of the tables' rows.
    """

    def initialize(shape, dtype=None):
        # An initializer object used twice gives the same numbers twice.
        parts = [initializer.clone()((n, shape[1]), dtype) for n in sizes]
        return ops.concatenate(parts)

    return initialize


def in_parts(initializer, sizes, dim, dtype):
    """Returns a function that draws the rows of tables by and by.

    They are the same whoever draws them, if all have one random seed, and in each call.

    Args:
        initializer: Keras initializer.
        sizes: List of the tables' rows.
        dim: Integer. Numbers in a row.
        dtype: String.
    """
    sizes = [min(PART, n - at) for n in sizes for at in range(0, n, PART)]
    draws = [initializer.clone() for _ in sizes]

    def parts():
        for draw, size in zip(draws, sizes, strict=True):
            yield draw((size, dim), dtype)

    return parts


def joined(parts):
    """Returns an initializer of all that `in_parts` draws."""
    return lambda shape, dtype=None: ops.concatenate([*parts()])
