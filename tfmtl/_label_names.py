"""What a column's name tells: an action, its stage of a funnel, a time that was spent.

`python -m pipeline init`, which does not wait for TensorFlow, has the same words.
"""

import re

# Stages of a funnel, in their order. A later one is learnt from the rows of an earlier.
FUNNEL = tuple(
    frozenset(words.split())
    for words in (
        "click clicked clicks clk visit visited visits open opened 点击 访问",
        "cart addtocart atc basket 加购",
        "purchase purchased buy bought order ordered conversion convert converted conv "
        "cvr install installed download downloaded register registered signup "
        "subscribe subscribed book booked booking transaction rent rented attributed "
        "购买 下单 转化",
        "pay paid payment 支付 付款",
    )
)
# Other actions, which are learnt from all rows.
REACTIONS = frozenset(
    (
        "like liked likes dislike disliked follow followed forward forwarded share "
        "shared comment commented favorite favorited favourite fav collect collected "
        "save saved bookmark bookmarked repost retweet reply replied vote upvote hate "
        "skip skipped view viewed watch watched read finish finished complete "
        "completed enter entered respond responded response churn churned default "
        "label target outcome avatar y 点赞 收藏 关注 分享 评论 转发"
    ).split()
)
# Of 0/1 columns that say who was there to act, and so where others are known.
EXPOSURES = frozenset(
    "played play shown exposed displayed impression impressed seen sent 曝光".split()
)
PAST = frozenset(
    "last prev previous before past history hist ago days avg mean rate ratio ctr num "
    "count cnt total sum ever".split()
)

# A time that was spent has a word of each.
DWELL = frozenset(
    "watch watched watching dwell stay play played playing view viewing read reading "
    "listen listening".split()
)
DURATION = frozenset(
    "time times ms millis seconds secs sec s duration minutes min".split()
)
# What is shown: its columns start with one of these.
ITEMS = frozenset(
    (
        "item itemid iid video videoid photo article articleid content contentid "
        "product productid sku movie movieid song track news doc document feed feedid "
        "ad adid creative goods post listing book bookid asin game course job "
        "商品 物品 视频 文章"
    ).split()
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
    """Returns whether a column is called like what a user does with what is shown."""
    acts = stage(name) is not None or _words(name) & REACTIONS
    return bool(acts) and not _words(name) & (PAST | EXPOSURES)


def is_dwell(name: str) -> bool:
    """Returns whether a number is called like the time that a user has spent.

    Example:
    >>> is_dwell("watch_seconds"), is_dwell("video_seconds"), is_dwell("avg_play_time")
    (True, False, False)
    """
    words = _words(name)
    if words & (PAST - {"count"}):
        return False
    whole = {"dwell", "stay", "play", "playtime", "watchtime", "dwelltime"}
    return bool(words & DWELL and words & DURATION) or (bool(words) and words <= whole)


def is_item(name: str) -> bool:
    """Returns whether a column is called like the id of what is shown."""
    first, *rest = _in_order(name) or [""]
    return first in ITEMS and {*rest} <= {"id", "key", "no"}


def is_exposure(name: str) -> bool:
    """Returns whether a column is called like what comes before all actions."""
    words = _words(name)
    return bool(words & EXPOSURES) and not words & PAST


def _words(name: str) -> set[str]:
    return set(_in_order(name))


def _in_order(name: str) -> list[str]:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[一-鿿])(?=\w)(?![一-鿿])", " ", name)
    name = name.lower()
    return re.findall(r"[^\W\d_]+|\d+", name)
