"""What a label's name tells: its stage of a funnel, or that it says what was shown.

`python -m pipeline init`, which does not wait for TensorFlow, has the same words.
"""

import re

# Stages of a funnel, in their order. A later one is learnt from the rows of an earlier.
FUNNEL = tuple(
    frozenset(words.split())
    for words in (
        "click clicked clicks clk visit visited visits open opened",
        "cart addtocart atc basket",
        "purchase purchased buy bought order ordered conversion convert converted conv "
        "cvr install installed download downloaded register registered signup "
        "subscribe subscribed book booked booking transaction rent rented attributed",
        "pay paid payment",
    )
)
# Of 0/1 columns that say who was there to act, and so where others are known.
EXPOSURES = frozenset(
    "played play shown exposed displayed impression impressed seen sent".split()
)
PAST = frozenset(
    "last prev previous before past history hist ago days avg mean rate ratio ctr num "
    "count cnt total sum ever".split()
)


def stage(name: str) -> int | None:
    """Returns the place of an action in a funnel; None if its name tells none.

    Example:
    >>> stage("is_click"), stage("userPurchase"), stage("like")
    (0, 2, None)
    """
    found = (i for i, words in enumerate(FUNNEL) if words & _words(name))
    return next(found, None)


def is_action(name: str) -> bool:
    """Returns whether a column is called like a stage of a funnel, done just now."""
    return stage(name) is not None and not _words(name) & PAST


def is_exposure(name: str) -> bool:
    """Returns whether a column is called like what comes before all actions."""
    words = _words(name)
    return bool(words & EXPOSURES) and not words & PAST


def _words(name: str) -> set[str]:
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    return set(re.findall(r"[^\W\d_]+|\d+", name))
