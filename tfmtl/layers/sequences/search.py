"""The first stage of long sequences: of many events, a few that attention then sees."""

from keras import ops


def best(sequence, present, rank, items: int):
    """Returns the events of the highest ranks, the oldest first, and which are there.

    Args:
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an event.
        rank: (batch, length), different for all events that are there.
        items: Integer, at most the length. How many are wanted.

    Returns:
        (batch, items, dim) and (batch, items).
    """
    known = ops.cast(present, "bool")
    rank = ops.where(known, rank, ops.min(rank) - 1.0)
    _, found = ops.top_k(rank, items)
    found = ops.sort(found, axis=1)
    present = ops.take_along_axis(ops.cast(present, sequence.dtype), found, 1)
    return ops.take_along_axis(sequence, ops.expand_dims(found, 2), 1), present
