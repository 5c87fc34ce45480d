"""Who uses the simulated feed, what it shows them and when.

The model is described in `feed`; this part has no labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DOMAINS = ("discovery", "featured", "slide")
SHARES = (0.247, 0.351, 0.402)  # of the impressions
STAGES = ("click", "long_view", "like", "follow", "forward")  # the binary tasks
# Which tabs a user visits, and how many do. Table 1 gives the pairs: discovery shares
# 92 % of its users with featured, slide only 8 to 9 % of its own with either.
MEMBERSHIPS = (
    ((1, 1, 0), 0.33),
    ((1, 0, 0), 0.03),
    ((0, 1, 0), 0.19),
    ((0, 0, 1), 0.41),
    ((1, 1, 1), 0.03),
    ((0, 1, 1), 0.01),
)
AGES = ("0-17", "18-23", "24-30", "31-40", "41-49", "50+")
GENDERS = ("F", "M")
CITY_TIERS = ("1", "2", "3", "4")
NETWORKS = ("wifi", "5g", "4g")
CATEGORIES = (
    "comedy", "music", "dance", "food", "travel", "sports",
    "games", "news", "beauty", "pets", "science", "family",
)  # fmt: skip
TASTE = 4
DAYS = 12


@dataclass(frozen=True)
class World:
    """Users, videos and effects, fixed for the whole window."""

    users: dict[str, np.ndarray]
    videos: dict[str, np.ndarray]
    tab_users: list[np.ndarray]  # users of each tab
    tab_activity: list[np.ndarray]  # cumulative activity of those users
    category_style: np.ndarray  # (categories, TASTE)
    category_mix: np.ndarray  # (tabs, categories)
    category_effect: np.ndarray  # (stages, tabs, categories)
    demographic_effect: np.ndarray  # (stages, ages, genders)
    video_start: np.ndarray  # (categories + 1,) videos are ordered by category
    video_weight: np.ndarray  # (videos + 1,) cumulative popularity


def _standardise(values):
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)


def create_world(rng: np.random.Generator, impressions: int) -> World:
    """Draws users, videos and effects, as many as the impressions call for."""
    count = max(60, impressions // 66)
    n_videos = max(60, impressions // 100)
    n_authors = max(12, n_videos // 10)
    normal = rng.standard_normal
    members = np.array([tabs for tabs, _ in MEMBERSHIPS], bool)
    odds = np.array([share for _, share in MEMBERSHIPS])
    # The first users take one membership each, so that no tab of a small feed is empty.
    kinds = np.r_[: len(odds), rng.choice(len(odds), count - len(odds), p=odds)]
    age = rng.choice(len(AGES), count, p=(0.1, 0.22, 0.25, 0.22, 0.13, 0.08))
    gender = rng.integers(0, len(GENDERS), count)
    age_taste = _standardise(normal((len(AGES), TASTE)))
    gender_taste = _standardise(normal((len(GENDERS), TASTE)))
    active_days = rng.binomial(30, rng.beta(1.5, 1.0, count))
    users = {
        "age": age,
        "gender": gender,
        "tier": rng.choice(len(CITY_TIERS), count, p=(0.2, 0.3, 0.3, 0.2)),
        "active_days": active_days,
        "activity": _standardise(active_days),
        "generosity": 0.9 * _standardise(active_days) + 0.4 * normal(count),
        "taste": 0.7 * age_taste[age]
        + 0.6 * gender_taste[gender]
        + 0.25 * normal((count, TASTE)),
    }
    weight = (0.3 + active_days / 30) * rng.gamma(2.0, size=count)
    tab_users = [np.flatnonzero(members[kinds, tab]) for tab in range(len(DOMAINS))]

    author_category = rng.permutation(np.arange(n_authors) % len(CATEGORIES))
    author_style = 0.2 * normal((n_authors, TASTE))
    author_quality, author_bait = _standardise(normal((n_authors, 2))).T
    fame = normal(n_authors) + 0.5 * author_quality
    author = np.r_[:n_authors, rng.integers(0, n_authors, n_videos - n_authors)]
    author = author[np.argsort(author_category[author], kind="stable")]
    category = author_category[author]
    category_style = _standardise(normal((len(CATEGORIES), TASTE)))
    log_duration = np.clip(normal(n_videos) * 0.7 + np.log(20), np.log(5), np.log(180))
    quality = 0.95 * author_quality[author] + 0.3 * normal(n_videos)
    age_hours = np.round(rng.exponential(24 * 20, n_videos) + 1, 1)
    popularity = np.exp(4 + 0.9 * quality + 0.4 * normal(n_videos))
    videos = {
        "author": author,
        "category": category,
        "duration": np.round(np.exp(log_duration), 1),
        "age_hours": age_hours,
        "popularity": np.round(popularity, 1),
        "followers": np.round(np.exp(7 + 2 * fame)),
        "style": category_style[category] + author_style[author],
        "quality": quality,
        "bait": 0.95 * author_bait[author] + 0.3 * normal(n_videos),
        "fame": _standardise(fame)[author],
        "log_duration": _standardise(log_duration),
        "freshness": -_standardise(np.log(age_hours)),
    }
    stages = len(STAGES)
    scale = np.array([0.25, 0.25, 0.5, 0.6, 0.4])[:, None, None]
    shape = (stages, len(DOMAINS), len(CATEGORIES))
    return World(
        users=users,
        videos=videos,
        tab_users=tab_users,
        tab_activity=[np.cumsum(weight[chosen]) for chosen in tab_users],
        category_style=category_style,
        category_mix=0.4 * normal((len(DOMAINS), len(CATEGORIES))),
        category_effect=scale * (normal((stages, 1, shape[2])) + 0.25 * normal(shape)),
        demographic_effect=scale
        * (normal((stages, len(AGES), 1)) + 0.5 * normal((stages, 1, len(GENDERS)))),
        video_start=np.searchsorted(category, np.arange(len(CATEGORIES) + 1)),
        video_weight=np.r_[0, np.cumsum(popularity**0.6 * rng.gamma(2, size=n_videos))],
    )


def _seconds(quantile):
    """Seconds into the window before which `quantile` of the traffic happens."""
    hours = np.arange(24 * DAYS)
    load = 1 + 0.7 * np.cos((hours % 24 - 20) / 24 * 2 * np.pi)  # busiest at 20:00
    share = np.r_[0, np.cumsum(load)] / load.sum()
    return np.interp(quantile, share, np.r_[hours, 24 * DAYS] * 3600.0)


def draw_rows(rng, world: World, rows: int, low: float, high: float):
    """Draws who saw what and when; `low` and `high` are quantiles of the traffic."""
    most = np.array([12, 8, 8])  # impressions of a request, at least 2
    odds = np.array(SHARES) / (2 + most)
    requests = rows // 2 + 1
    tab = rng.choice(len(DOMAINS), requests, p=odds / odds.sum())
    size = rng.integers(2, most[tab] + 1)
    end = np.cumsum(size)
    requests = np.searchsorted(end, rows) + 1
    tab, size, end = tab[:requests], size[:requests], end[:requests]
    size[-1] -= end[-1] - rows

    first, last = _seconds([low, high]).astype(np.int64)
    second = _seconds(rng.uniform(low, high, requests)).astype(np.int64)
    second = np.sort(np.clip(second, first, last - 1))  # shards share no second
    user = np.empty(requests, np.int64)
    for index, (members, activity) in enumerate(
        zip(world.tab_users, world.tab_activity, strict=True)
    ):
        here = tab == index
        draw = rng.random(here.sum()) * activity[-1]
        user[here] = members[np.searchsorted(activity, draw, side="right")]
    network = rng.choice(len(NETWORKS), requests, p=(0.6, 0.15, 0.25))

    logits = 0.8 * world.users["taste"][user] @ world.category_style.T
    share = np.cumsum(np.exp(logits + world.category_mix[tab]), axis=1)
    request = np.repeat(np.arange(requests), size)  # (rows,)
    draw = rng.random(rows) * share[request, -1]
    category = (share[request] <= draw[:, None]).sum(1)  # (rows,)
    weight = world.video_weight[world.video_start]
    draw = weight[category] + rng.random(rows) * (weight[1:] - weight[:-1])[category]
    video = np.searchsorted(world.video_weight, draw, side="right") - 1
    videos = len(world.videos["author"])
    video = np.minimum(video, videos - 1)
    while True:  # a request shows a video once: a repeat gives way to its neighbour
        order = np.argsort(request * videos + video, kind="stable")
        pair = (request * videos + video)[order]
        repeat = order[1:][pair[1:] == pair[:-1]]
        if not len(repeat):
            break
        video[repeat] = (video[repeat] + 1) % videos
    columns = {"tab": tab, "user": user, "second": second, "network": network}
    drawn = {name: column[request] for name, column in columns.items()}
    position = np.arange(rows) - (np.cumsum(size) - size)[request]
    return drawn | {"request": request, "video": video, "position": position}
