"""Which action belongs to which impression, and what a user did before: the arithmetic.

Both are one sort and one binary search over all rows of a partition. Keys are small
integers (`codes`), times are seconds.

Written down once, as every label depends on it:

- An action at time `a` belongs to the LAST impression with its key that is not after
  it, at time `i <= a`; of several at that same time, to the last in the order of the
  logs. It counts if `a - i <= window`, else it belongs to none: an earlier impression
  with the key would be farther away still. With a delay, only impressions at a time
  `i < a - min_delay` are looked at: with 0, those before the action's own second.
- An action is in the history of an impression at time `i` if `a < i - min_delay`. So
  with the default delay, 0, what happens in the impression's own second stays out.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def codes(*columns: Sequence[pa.Array]) -> list[np.ndarray]:
    """Numbers for the keys of several tables: the same number, the same key.

    Args:
        columns: For each table, the string columns of its key, in the same order.

    Returns:
        For each table, int64 (rows,).
    """
    sizes = [len(table[0]) for table in columns]
    result = np.zeros(sum(sizes), np.int64)
    for parts in zip(*columns, strict=True):
        encoded = pa.chunked_array(list(parts), pa.string()).combine_chunks()
        encoded = encoded.dictionary_encode()
        code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
        # Renumbered, so that the product does not outgrow 64 bits.
        pair = result * (len(encoded.dictionary) + 1) + code
        _, result = np.unique(pair, return_inverse=True)
    return np.split(result, np.cumsum(sizes)[:-1])


def first_of_equals(*columns: np.ndarray) -> np.ndarray:
    """Marks the first of rows that are equal in all columns: bool (rows,)."""
    if not len(columns[0]):
        return np.zeros(0, bool)
    order = np.lexsort(columns[::-1])  # stable: equal rows stay in order
    differs = np.zeros(len(order) - 1, bool)
    for column in columns:
        ordered = column[order]
        differs |= ordered[1:] != ordered[:-1]
    result = np.zeros(len(order), bool)
    result[order] = np.concatenate([[True], differs])
    return result


def owners(
    keys: np.ndarray,
    times: np.ndarray,
    action_keys: np.ndarray,
    action_times: np.ndarray,
    window: float,
    min_delay: float | None = None,
) -> np.ndarray:
    """The impression to which each action belongs.

    Args:
        keys: int64 (impressions,). In the order of the logs, as `times`.
        times: float64 (impressions,).
        action_keys: int64 (actions,).
        action_times: float64 (actions,).
        window: The most seconds from the impression to the action.
        min_delay: The seconds that must be exceeded. Defaults to none, not even 0.

    Returns:
        int64 (actions,): a position among the impressions; -1 for none.
    """
    if not len(keys):
        return np.full(len(action_keys), -1)
    order = np.lexsort([times, keys])
    distinct, rank = np.unique(times, return_inverse=True)
    place = keys * len(distinct) + rank  # grows with the key, then with the time
    if min_delay is None:
        action_rank = np.searchsorted(distinct, action_times, side="right") - 1
    else:
        earliest = action_times - min_delay
        action_rank = np.searchsorted(distinct, earliest, side="left") - 1
    # An action before all impressions has rank -1, the place of the key before it.
    last = np.searchsorted(
        place[order], action_keys * len(distinct) + action_rank, side="right"
    )
    owner = order[np.maximum(last - 1, 0)]
    belongs = (last > 0) & (action_rank >= 0) & (keys[owner] == action_keys)
    belongs &= action_times - times[owner] <= window
    return np.where(belongs, owner, -1)


def earlier(
    keys: np.ndarray,
    times: np.ndarray,
    action_keys: np.ndarray,
    action_times: np.ndarray,
    max_length: int,
    min_delay: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The actions with an impression's key before it, the oldest first.

    Args:
        keys: int64 (impressions,).
        times: float64 (impressions,).
        action_keys: int64 (actions,). In the order of the logs, as `action_times`.
        action_times: float64 (actions,).
        max_length: The most actions of an impression; the latest are kept.
        min_delay: An action counts if its time < the impression's - min_delay.

    Returns:
        order, int64 (actions,), start and stop, int64 (impressions,): the i-th
        impression has the actions order[start[i] : stop[i]]. See `spread`.
    """
    order = np.lexsort([action_times, action_keys])
    distinct, rank = np.unique(action_times, return_inverse=True)
    steps = len(distinct) + 1
    place = (action_keys * steps + rank)[order]
    before = np.searchsorted(distinct, times - min_delay, side="left")
    start = np.searchsorted(place, keys * steps)
    stop = np.searchsorted(place, keys * steps + before)
    return order, np.maximum(start, stop - max_length), stop


def spread(
    order: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lists one after the other, of ranges.

    Args:
        order: int64 (actions,).
        start: int64 (impressions,).
        stop: int64 (impressions,).

    Returns:
        offsets, int64 (impressions + 1,), and positions, int64 (n,): of the i-th range
        they are positions[offsets[i] : offsets[i + 1]].
    """
    offsets = np.concatenate([[0], np.cumsum(stop - start)])
    step = np.arange(offsets[-1]) - np.repeat(offsets[:-1], stop - start)
    return offsets, order[np.repeat(start, stop - start) + step]


def take(
    how: str, owner: np.ndarray, times: np.ndarray, values: pa.Array, rows: int
) -> pa.Array:
    """One value for each impression, of its actions' values; null without any.

    Args:
        how: "sum", "min", "max", of float64; "first" or "last" by time, and at the
            same time by the order of the logs.
        owner: int64 (actions,). From `owners`.
        times: float64 (actions,).
        values: (actions,). Null counts as no action.
        rows: The number of impressions.
    """
    known = values.is_valid().to_numpy(zero_copy_only=False)
    used = np.flatnonzero((owner >= 0) & known)
    used = used[np.lexsort([times[used], owner[used]])]
    to, first, counts = np.unique(owner[used], return_index=True, return_counts=True)
    if how in ("first", "last"):
        chosen = used[first if how == "first" else first + counts - 1]
        place = np.full(rows, -1)
        place[to] = chosen
        return values.take(pa.array(place, mask=place < 0))
    fold = {"sum": np.add, "min": np.minimum, "max": np.maximum}[how]
    result = np.full(rows, np.nan)
    if len(used):
        numbers = values.to_numpy(zero_copy_only=False)[used]
        result[to] = fold.reduceat(numbers, first)
    return pa.array(result, mask=np.isnan(result))
