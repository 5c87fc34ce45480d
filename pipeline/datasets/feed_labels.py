"""Label probabilities of the simulated feed and the labels drawn from them.

The model is described in `feed`.
"""

from __future__ import annotations

import numpy as np

from pipeline.datasets.feed_world import DOMAINS, STAGES, TASTE, World, draw_rows

TASKS = (*STAGES, "watch_seconds")
RATES = {  # by domain; that of long_view is among the played impressions
    "click": (0.1466, 0.5838, 0.5733),
    "long_view": (0.4557, 0.4458, 0.4848),
    "like": (0.0368, 0.0291, 0.0282),
    "follow": (0.0048, 0.0033, 0.0035),
    "forward": (0.0021, 0.0021, 0.0028),
}
# Log-odds per standard deviation of a factor: one number, or one for each domain.
EFFECTS = {
    "click": {
        "affinity": (0.55, 0.7, 0.7),
        "quality": (0.5, 0.65, 0.65),
        "bait": (0.4, 0.1, 0.1),
        "duration": (0.0, -0.2, -0.3),
        "freshness": 0.3,
        "position": (-0.5, -0.3, -0.3),
        "evening": 0.3,
    },
    "long_view": {
        "affinity": (0.6, 0.5, 0.5),
        "quality": (0.6, 0.5, 0.5),
        "bait": (-0.4, -0.5, -0.5),
        "duration": -0.4,
        "wifi": (0.6, 0.5, 0.5),
        "evening": 0.3,
    },
    "like": {
        "affinity": 0.9,
        "quality": 0.5,
        "generosity": 0.8,
        "fame": 0.3,
        "bait": -0.3,
    },
    "follow": {
        "affinity": 0.9,
        "quality": 0.5,
        "activity": -1.0,
        "fame": -0.9,
    },
    "forward": {
        "affinity": 0.5,
        "generosity": 0.4,
        "duration": 0.5,
        "evening": 0.8,
        "wifi": 0.7,
    },
}


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def score(world: World, drawn) -> np.ndarray:
    """Log-odds of the stages without intercepts, (stages, rows)."""
    tab, user, video = drawn["tab"], drawn["user"], drawn["video"]
    users, videos = world.users, world.videos
    hour = drawn["second"] // 3600 % 24
    taste, style = users["taste"][user], videos["style"][video]
    factors = {
        "affinity": np.einsum("nd,nd->n", taste, style) / np.sqrt(TASTE),
        "quality": videos["quality"][video],
        "bait": videos["bait"][video],
        "duration": videos["log_duration"][video],
        "freshness": videos["freshness"][video],
        "fame": videos["fame"][video],
        "activity": users["activity"][user],
        "generosity": users["generosity"][user],
        "position": (drawn["position"] - 3) / 2.5,
        "evening": np.cos((hour - 21) / 24 * 2 * np.pi) * np.sqrt(2),
        "wifi": (drawn["network"] == 0) * 2 - 1,
    }
    category, age, gender = (
        videos["category"][video], users["age"][user], users["gender"][user],
    )  # fmt: skip
    scores = world.category_effect[:, tab, category]
    scores += world.demographic_effect[:, age, gender]
    for total, stage in zip(scores, STAGES, strict=True):
        for name, effect in EFFECTS[stage].items():
            by_tab = np.broadcast_to(effect, len(DOMAINS))
            total += by_tab[tab] * factors[name]
    return scores


def calibrate(rng, world: World, rows: int) -> np.ndarray:
    """Intercepts (stages, tabs) with which the expected label rates are `RATES`."""
    drawn = draw_rows(rng, world, rows, 0.0, 1.0)
    scores = score(world, drawn)
    intercepts = np.zeros((len(STAGES), len(DOMAINS)))
    for tab in range(len(DOMAINS)):
        here = scores[:, drawn["tab"] == tab]
        reach = np.ones(here.shape[1])  # probability of the click, once that is known
        for index, stage in enumerate(STAGES):
            whole = reach.sum() if stage == "long_view" and tab == 0 else len(reach)
            low, high = -30.0, 30.0
            for _ in range(50):
                middle = (low + high) / 2
                positives = (reach * _sigmoid(here[index] + middle)).sum()
                if positives < RATES[stage][tab] * whole:
                    low = middle
                else:
                    high = middle
            intercepts[index, tab] = low
            if stage == "click":
                reach = _sigmoid(here[index] + low)
    return intercepts


def draw_labels(rng, scores, tab, duration):
    """Labels and oracle columns; `played` is False where the labels are void."""
    rows = len(tab)
    chance = dict(zip(STAGES, _sigmoid(scores), strict=True))
    discovery = tab == 0
    click = rng.random(rows) < chance["click"]
    labels = {"click": click, "played": click | ~discovery}
    oracle = {"p_click": chance["click"]}
    for stage in STAGES[1:]:
        labels[stage] = click & (rng.random(rows) < chance[stage])
        oracle[f"p_{stage}"] = chance["click"] * chance[stage]
    stay = np.where(discovery, 1.0, chance["click"])  # given that the video plays
    long = chance["long_view"]
    oracle["p_long_view"] = stay * long

    threshold = np.clip(0.6 * duration, 4, 18)
    spread = 0.3 * np.minimum(duration, 60)
    least = np.where(click, np.where(labels["long_view"], threshold, 3.0), 0.0)
    most = np.where(labels["long_view"], threshold + 2 * spread, threshold)
    most = np.where(click, most, 3.0)
    labels["watch_seconds"] = least + (most - least) * rng.random(rows)
    oracle["e_watch_seconds"] = (
        (1 - stay) * 1.5
        + stay * (1 - long) * (3 + threshold) / 2
        + stay * long * (threshold + spread)
    )
    return labels, oracle
