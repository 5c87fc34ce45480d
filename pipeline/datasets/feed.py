"""A simulated short-video feed whose label probabilities are known.

Three tabs show one catalogue: "discovery", a double column where a video plays once
clicked, and the autoplay tabs "featured" and "slide", where every video plays and
`click` means a stay beyond three seconds. The volumes, the users shared by the tabs and
the label rates follow PEPNet (Chang et al., KDD 2023, section 3.1, Table 1).

User u has a taste `t_u = age + gender + own`, video v a style
`z_v = category + author`, both vectors of `TASTE` numbers. A request by u in tab d
draws its categories from

    P(k | u, d) ~ exp(0.8 t_u . c_k + mix_dk)

and, inside a category, videos by popularity, so what a user has watched reveals the
taste. With the affinity `a = t_u . z_v / sqrt(TASTE)` among the factors f of `EFFECTS`,
every stage s of the funnel has the log-odds

    l_s = b_sd + sum_f w_sfd f + category_sdk + demographic_s,age,gender

whose intercepts `b_sd` are found by bisection so that the expected label rates are
`RATES`. With `c = sigmoid(l_click)` and `r_s = sigmoid(l_s)`:

    P(click) = c                  P(like) = c r_like, and so follow and forward
    P(long_view | played) = r_long_view in discovery, c r_long_view in autoplay tabs

    watch_seconds ~ U(0, 3)       played, no click (autoplay tabs only)
                    U(3, T)       click, no long view
                    U(T, T + 2S)  long view

where `T = clip(0.6 duration, 4, 18)` and `S = 0.3 min(duration, 60)` seconds. The
labels after the click are independent given the features. `long_view` and
`watch_seconds` are null where the video was not played.

`watched`, `user_category_share` and the statistics `user_*_tab` and `author_*_tab`
hold what happened at strictly earlier timestamps of the window; they cause nothing.
Nor does `user_city_tier`, a column without signal.
The catalogue is frozen at the start. The oracle columns `p_*` are the probabilities
above, `e_watch_seconds` the expectation given `played`; both are there on every row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.datasets.feed_labels import TASKS, calibrate, draw_labels, score
from pipeline.datasets.feed_past import Past
from pipeline.datasets.feed_world import (
    AGES,
    CATEGORIES,
    CITY_TIERS,
    DOMAINS,
    GENDERS,
    NETWORKS,
    STAGES,
    World,
    create_world,
    draw_rows,
)

__all__ = ["DOMAINS", "STAGES", "TASKS", "generate"]

START = 1_662_854_400  # 2022-09-11 00:00 UTC, PEPNet's first day
SHARD_ROWS = 100_000


def _names(prefix: str, numbers) -> pa.Array:
    text = pc.cast(pa.array(numbers), pa.string())
    return pc.binary_join_element_wise(prefix, text, "")


def _table(world: World, drawn, labels, statistics, watched, video_names) -> pa.Table:
    """The columns of a shard, under their public names."""
    user, video, second = drawn["user"], drawn["video"], drawn["second"]
    users, videos = world.users, world.videos
    offsets, watched_videos = watched

    def pick(names, index):
        return pa.array(names).take(pa.array(index))

    columns = {
        "timestamp": START + second,
        "request_id": _names("r", drawn["request"]),
        "tab": pick(DOMAINS, drawn["tab"]),
        "user_id": _names("u", user),
        "user_age_band": pick(AGES, users["age"][user]),
        "user_gender": pick(GENDERS, users["gender"][user]),
        "user_city_tier": pick(CITY_TIERS, users["tier"][user]),
        "user_active_days": users["active_days"][user],
        "video_id": video_names.take(pa.array(video)),
        "author_id": _names("a", videos["author"][video]),
        "category": pick(CATEGORIES, videos["category"][video]),
        "duration": videos["duration"][video],
        "video_age_hours": videos["age_hours"][video] + np.round(second / 3600, 1),
        "video_popularity": videos["popularity"][video],
        "author_followers": videos["followers"][videos["author"][video]],
        "hour": second // 3600 % 24,
        "weekday": (second // 86400 + 6) % 7,  # Monday is 0, the first day a Sunday
        "network": pick(NETWORKS, drawn["network"]),
        "position": drawn["position"],
        **statistics,
        "watched": pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), video_names.take(pa.array(watched_videos))
        ),
    }
    void = ~labels["played"]
    for name, values in labels.items():
        values = values if name == "watch_seconds" else values.astype(np.int64)
        masked = name in ("long_view", "watch_seconds")
        columns[name] = pa.array(values, mask=void if masked else None)
    return pa.table(columns)


def generate(
    folder: Path,
    *,
    impressions: int = 200_000,
    seed: int = 7,
    write_probabilities: bool = True,
) -> dict:
    """Writes a feed's impressions to `folder` as Parquet shards, ordered by time.

    The same arguments give the same bytes. Users, videos and authors grow in proportion
    to the impressions; memory holds one shard and the users' histories.

    Args:
        folder: Path. Created if missing. Its shards, named
            `impressions-00000-of-0000N.parquet`, replace those of an earlier feed.
        impressions: int. Rows to write, at least 1000. Defaults to 200,000.
        seed: int. Seed of everything random. Defaults to 7.
        write_probabilities: bool. Whether to write the oracle columns `p_*` and
            `e_watch_seconds`. Defaults to True.

    Returns:
        dict: `rows`, `users`, `videos` and `authors` that exist, and `positive_rate`
        as `{domain: {task: rate}}`; that of `long_view` is among the played rows.

    Raises:
        ValueError: If `impressions` is below 1000.
    """
    if impressions < 1000:
        raise ValueError(
            "`impressions` must be at least 1000, so that every tab has users. "
            f"Received: impressions={impressions}. Ask for more rows."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("impressions-*-of-*.parquet"):
        stale.unlink()
    shards = -(-impressions // SHARD_ROWS)
    seeds = np.random.SeedSequence(seed).spawn(shards + 2)
    world = create_world(np.random.default_rng(seeds[0]), impressions)
    calibration_rows = min(impressions, 2 * SHARD_ROWS)
    intercepts = calibrate(np.random.default_rng(seeds[1]), world, calibration_rows)
    video_names = _names("v", np.arange(len(world.videos["author"])))
    past = Past(len(world.users["age"]), len(world.videos["followers"]))
    shown = np.zeros(len(DOMAINS))
    positives = {stage: np.zeros(len(DOMAINS)) for stage in (*STAGES, "played")}
    for shard in range(shards):
        rng = np.random.default_rng(seeds[shard + 2])
        start, stop = (impressions * (shard + i) // shards for i in (0, 1))
        drawn = draw_rows(
            rng, world, stop - start, shard / shards, (shard + 1) / shards
        )
        drawn["request"] += start  # a shard has no more requests than rows
        tab = drawn["tab"]
        scores = score(world, drawn) + intercepts[:, tab]
        duration = world.videos["duration"][drawn["video"]]
        labels, oracle = draw_labels(rng, scores, tab, duration)
        author = world.videos["author"][drawn["video"]]
        statistics = past.statistics("user", drawn["user"], drawn, labels)
        statistics |= past.statistics("author", author, drawn, labels)
        statistics["user_category_share"] = past.category_share(
            drawn, world.videos["category"][drawn["video"]], labels["played"]
        )
        watched = past.watched_before(drawn, labels["played"])
        table = _table(world, drawn, labels, statistics, watched, video_names)
        if write_probabilities:
            for name, values in oracle.items():
                table = table.append_column(name, pa.array(values))
        pq.write_table(
            table, folder / f"impressions-{shard:05d}-of-{shards:05d}.parquet"
        )
        shown += np.bincount(tab, minlength=len(DOMAINS))
        for name, count in positives.items():
            count += np.bincount(tab, labels[name], len(DOMAINS))
    whole = {name: shown for name in STAGES} | {"long_view": positives["played"]}
    return {
        "rows": impressions,
        "users": len(world.users["age"]),
        "videos": len(world.videos["author"]),
        "authors": len(world.videos["followers"]),
        "positive_rate": {
            domain: {
                task: float(positives[task][tab] / whole[task][tab]) for task in STAGES
            }
            for tab, domain in enumerate(DOMAINS)
        },
    }
