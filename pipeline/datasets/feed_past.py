"""Features of the past in the simulated feed, exact at every point in time."""

from __future__ import annotations

import numpy as np

from pipeline.datasets.feed_labels import RATES
from pipeline.datasets.feed_world import CATEGORIES, DOMAINS

HISTORY = 20


class Past:
    """What happened in earlier shards, and with it the features of the past."""

    def __init__(self, users: int, authors: int):
        sizes = {"user": users, "author": authors}
        self.counts = {
            name: np.zeros((4, size * len(DOMAINS))) for name, size in sizes.items()
        }
        self.plays = np.zeros((users, len(CATEGORIES)))
        self.watched = np.zeros((users, HISTORY), np.int32)  # most recent last
        self.length = np.zeros(users, np.int64)

    def statistics(self, of: str, index, drawn, labels) -> dict[str, np.ndarray]:
        """Smoothed rates of a user or an author in the tab, up to the second before."""
        key = index * len(DOMAINS) + drawn["tab"]
        counts = self.counts[of]
        values = [np.ones(len(key))]
        values += [labels[name] for name in ("click", "like", "long_view")]
        shown, click, like, long_view = (
            count[key] + _earlier(key, drawn["second"], value)
            for count, value in zip(counts, values, strict=True)
        )
        for count, value in zip(counts, values, strict=True):
            count += np.bincount(key, value, len(count))
        prior = {name: np.array(RATES[name])[drawn["tab"]] for name in RATES}
        return {
            f"{of}_impressions_tab": shown,
            f"{of}_click_rate_tab": (click + 10 * prior["click"]) / (shown + 10),
            f"{of}_like_rate_tab": (like + 20 * prior["like"]) / (shown + 20),
            f"{of}_long_view_per_click_tab": (long_view + 3) / (click + 5),
        }

    def category_share(self, drawn, category, played) -> np.ndarray:
        """Smoothed share of the video's category in what the user played before."""
        user, second, kinds = drawn["user"], drawn["second"], len(CATEGORIES)
        key = user * kinds + category
        plays = self.plays[user].sum(1) + _earlier(user, second, played)
        alike = self.plays[user, category] + _earlier(key, second, played)
        self.plays += np.bincount(key, played, self.plays.size).reshape(-1, kinds)
        return (alike + 1) / (plays + kinds)

    def watched_before(self, drawn, played) -> tuple[np.ndarray, np.ndarray]:
        """The latest videos played: (rows + 1,) offsets and the lists end to end."""
        order = np.argsort(drawn["user"], kind="stable")
        order = order[played[order]]  # what was played, by user and time
        users, inverse = np.unique(drawn["user"], return_inverse=True)
        plays = np.bincount(inverse, played, len(users)).astype(np.int64)
        old = self.length[users]
        start = np.cumsum(old + plays) - (old + plays)
        story = np.empty((old + plays).sum(), np.int32)  # by user, oldest first
        recent = np.arange(HISTORY) >= HISTORY - old[:, None]  # (users, HISTORY)
        story[_ranges(start, old)] = self.watched[users][recent]
        story[_ranges(start + old, plays)] = drawn["video"][order]

        before = old[inverse] + _earlier(drawn["user"], drawn["second"], played)
        length = np.minimum(before, HISTORY).astype(np.int64)
        first = (start[inverse] + before - length).astype(np.int64)
        lists = story[_ranges(first, length)]

        keep = np.minimum(old + plays, HISTORY)
        self.length[users] = keep
        recent = np.arange(HISTORY) >= HISTORY - keep[:, None]
        newest = np.zeros((len(users), HISTORY), np.int32)
        newest[recent] = story[_ranges(start + old + plays - keep, keep)]
        self.watched[users] = newest
        return np.r_[0, np.cumsum(length)], lists


def _ranges(starts, lengths):
    """Concatenates `arange(start, start + length)` over all pairs."""
    shift = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(shift, lengths) + np.arange(lengths.sum())


def _earlier(key, second, values):
    """Sum of `values` over the rows of the same key and a strictly earlier second.

    Rows come ordered by second.
    """
    order = np.argsort(key, kind="stable")
    key, second = key[order], second[order]
    total = np.cumsum(values[order]) - values[order]  # over the rows before
    index = np.arange(len(key))
    new_key = np.r_[True, key[1:] != key[:-1]]
    new_moment = new_key | np.r_[True, second[1:] != second[:-1]]
    moment = np.maximum.accumulate(np.where(new_moment, index, 0))
    first = np.maximum.accumulate(np.where(new_key, index, 0))
    result = np.empty(len(key))
    result[order] = total[moment] - total[first]
    return result
