"""What came of the impressions of a partition, and what their users did before.

As columns: `pipeline.components.example_gen.matching` has the rules.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.components.example_gen import matching
from pipeline.components.example_gen.joined_logs import (
    HISTORY,
    KEY,
    PART,
    POSITION,
    TIME,
)
from pipeline.config.joins import Action, History
from pipeline.logs.values import texts
from pipeline.logs.values.scalars import readable


def outcomes(
    action: Action, impressions: pa.RecordBatch, rows: pa.RecordBatch, end: float
) -> tuple[dict[str, pa.Array], np.ndarray, np.ndarray]:
    """What came of the impressions.

    Args:
        action: Which actions count.
        impressions: The impressions of a partition, as they travel.
        rows: The actions of the partition, as they travel.
        end: The time at which the logs end.

    Returns:
        The new columns; bool (impressions,), those to be dropped; int64 (actions,),
        the impression of each, -1 for none.
    """
    keys, action_keys = matching.codes(
        *(
            [table.column(KEY + name) for name in action.key]
            for table in (impressions, rows)
        )
    )
    times, action_times = (
        table.column(TIME).to_numpy() for table in (impressions, rows)
    )
    owner = matching.owners(
        keys, times, action_keys, action_times, action.window, action.min_delay
    )
    seen = np.bincount(owner[owner >= 0], minlength=len(keys)) > 0
    late = times + action.window > end
    unknown = np.zeros(len(keys), bool)
    for name in action.key:
        null = impressions.column(KEY + name).is_null()
        unknown |= null.to_numpy(zero_copy_only=False)
    if action.incomplete == "unlabelled":
        unknown |= late
    columns = {action.name: pa.array(seen.astype(np.float64), mask=unknown)}
    for name, value in action.values.items():
        column = matching.take(
            value.take, owner, action_times, rows.column(name), len(keys)
        )
        nothing = pa.scalar(None, column.type)
        columns[name] = pc.if_else(pa.array(unknown), nothing, column)
    dropped = late if action.incomplete == "drop" else np.zeros(len(keys), bool)
    return columns, dropped, owner


def at_once(
    impressions: pa.RecordBatch, rows: pa.RecordBatch, owner: np.ndarray
) -> int:
    """How many actions are at the very time of their impression."""
    times = impressions.column(TIME).to_numpy()[owner[owner >= 0]]
    return int(np.sum(times == rows.column(TIME).to_numpy()[owner >= 0]))


class Earlier:
    """What the impressions' users did before: a column of lists, the oldest first.

    Of a slice of it, an array is made: all lists at once may be larger than the logs.

    Args:
        values: What is listed of each action.
        found: What `matching.earlier` found.
        until: The impressions' times, where what is listed are times, and becomes how
            many seconds each is before. Defaults to none.
    """

    def __init__(
        self,
        values: pa.Array,
        found: tuple[np.ndarray, np.ndarray, np.ndarray],
        until: np.ndarray | None = None,
    ):
        self.values, self.until = values, until
        self.order, self.start, self.stop = found

    def __getitem__(self, chosen: slice) -> pa.Array:
        start, stop = self.start[chosen], self.stop[chosen]
        offsets, positions = matching.spread(self.order, start, stop)
        items = self.values.take(pa.array(positions))
        if self.until is not None:
            ages = np.repeat(self.until[chosen], stop - start) - items.to_numpy()
            items = pa.array(ages)
        items = pc.fill_null(texts.of(items), "")
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)


def earlier(
    history: History, impressions: pa.RecordBatch, rows: pa.RecordBatch
) -> dict[str, Earlier]:
    """The columns of a history.

    Args:
        history: Which actions count, and what is listed of them.
        impressions: The impressions of a partition, as they travel.
        rows: The actions of the partition, or again the impressions.
    """
    items, key = rows.column(HISTORY + history.name), rows.column(KEY + history.key)
    rows = rows.filter(pc.and_(items.is_valid(), key.is_valid()))
    keys, action_keys = matching.codes(
        *([table.column(KEY + history.key)] for table in (impressions, rows))
    )
    until = impressions.column(TIME).to_numpy()
    found = matching.earlier(
        keys,
        until,
        action_keys,
        rows.column(TIME).to_numpy(),
        history.max_length,
        history.min_delay,
    )
    columns = {
        name: Earlier(rows.column(HISTORY + name), found) for name in history.listed
    }
    if history.age:
        columns[history.age] = Earlier(rows.column(TIME), found, until)
    return columns


def unique(rows: pa.RecordBatch) -> np.ndarray:
    """The rows that are equal to no earlier one: bool (rows,)."""
    codes = []
    for name in rows.schema.names:
        if name not in (PART, POSITION):
            column = rows.column(name)
            if pa.types.is_nested(column.type):  # Arrow does not compare such
                shown = [str(readable(column, row)) for row in range(len(column))]
                column = pa.array(shown, pa.string())
            indices = column.dictionary_encode().indices
            codes.append(indices.fill_null(-1).to_numpy(zero_copy_only=False))
    return matching.first_of_equals(*codes)
