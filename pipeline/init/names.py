"""What columns' names tell: the words that logs use for users, times and actions.

Only guesses start here; what the values say decides where both speak.
"""

from pipeline.init.profiles import Profile
from pipeline.init.profiles import words as words_of


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Stages of a funnel, in their order. A later one is learnt from the rows of an earlier.
_FUNNEL = (
    _set("click clicked clicks clk visit visited visits open opened 点击 访问"),
    _set("cart addtocart atc basket 加购"),
    _set(
        "purchase purchased buy bought order ordered conversion convert converted "
        "conv cvr install installed download downloaded register registered signup "
        "subscribe subscribed book booked booking transaction rent rented attributed "
        "购买 下单 转化"
    ),
    _set("pay paid payment 支付 付款"),
)
_REACTIONS = _set(
    "like liked likes dislike disliked follow followed forward forwarded share shared "
    "comment commented favorite favorited favourite fav collect collected save saved "
    "bookmark bookmarked repost retweet reply replied vote upvote hate skip skipped "
    "view viewed watch watched read finish finished complete completed enter entered "
    "respond responded response churn churned default label target outcome "
    "avatar y 点赞 收藏 关注 分享 评论 转发"
)
# Of 0/1 columns that say who was there to act, and so where others are known.
_EXPOSURES = _set(
    "played play shown exposed displayed impression impressed seen sent 曝光"
)
_PAST = _set(
    "last prev previous before past history hist ago days avg mean rate ratio ctr num "
    "count cnt total sum ever"
)
_DWELL = _set(
    "watch watched watching dwell stay play played playing view viewing read reading "
    "listen listening"
)
_DURATION = _set("time times ms millis seconds secs sec s duration minutes min")
_AMOUNT = _set("spend spent revenue amount gmv payment paid value gain profit sales")
_RATING = _set("rating ratings stars star helpfulness grade")
_TIME = _set(
    "time timestamp ts date datetime day dt created updated when week month 时间 日期"
)
_CYCLE = _set("hour hourmin weekday dayofweek dow minute quarter")
_USER = _set(
    "user userid uid member memberid customer customerid person personid visitor "
    "visitorid client clientid account buyer viewer reviewer reviewerid consumer 用户"
)
_ITEM = _set(
    "item itemid iid video videoid photo article articleid content contentid product "
    "productid sku movie movieid song track news doc document feed feedid ad adid "
    "creative goods post listing book bookid asin game course job 商品 物品 视频 文章"
)
_REQUEST = _set(
    "session sessionid request requestid search searchid query queryid impression "
    "impressionid trace traceid event eventid uuid row rowid index transactionid"
)
_NUMBER = _set(
    "count cnt num number price cost amount age rate ratio score share avg mean sum "
    "total duration length size days hours minutes seconds secs ms weight popularity "
    "followers following fans friends views likes clicks impressions position rank "
    "distance income balance quantity qty percent pct numerical numeric discount "
    "recency frequency history spend capital wage"
)
_ID = _set("id ids code tag type category cat categorical class brand author onehot")
_SHOWN = _set("view impression show shown exposure display pv imp")
_EVENT = _set("event eventtype action actiontype behavior behaviour interaction type")
# What a domain is called, the likeliest first.
_DOMAIN = (
    "domain scenario scene tab app site platform country region market locale channel "
    "segment category"
).split()
_PREDICTED = _set("p e prob probability pred predicted prediction expected oracle")


def stage(profile: Profile) -> int | None:
    """The place of an action in a funnel; None if its name tells none."""
    for i, words in enumerate(_FUNNEL):
        if words & set(profile.words):
            return i
    return None


def is_action(profile: Profile) -> bool:
    """Whether a 0/1 column is called like what a user does with what is shown."""
    words = set(profile.words)
    acts = any(words & part for part in _FUNNEL) or words & _REACTIONS
    return bool(acts) and not words & _PAST


def is_exposure(profile: Profile) -> bool:
    """Whether a 0/1 column is called like what comes before all actions."""
    words = set(profile.words)
    return bool(words & _EXPOSURES) and not words & _PAST


def is_dwell(profile: Profile) -> bool:
    """Whether a number is called like the time that a user has spent."""
    words = set(profile.words)
    if words & (_PAST - {"count"}):
        return False
    whole = {"dwell", "stay", "play", "playtime", "watchtime", "dwelltime"}
    return bool(words & _DWELL and words & _DURATION) or (
        bool(words) and words <= whole
    )


def is_amount(profile: Profile) -> bool:
    """Whether a number is called like what an action was worth."""
    words = set(profile.words)
    return bool(words & _AMOUNT) and not words & _PAST


def is_rating(profile: Profile) -> bool:
    """Whether a number is called like what a user gives."""
    words = set(profile.words)
    return bool(words & _RATING) and not words & _PAST


def is_time(profile: Profile) -> bool:
    """Whether a number is called like the time of a row."""
    words = set(profile.words)
    spent = words & (_DWELL | {"comment"}) or words & (_PAST | _CYCLE)
    return bool(words & _TIME) and not spent


def is_cycle(profile: Profile) -> bool:
    """Whether a number is called like a time that comes again, such as an hour."""
    return bool(set(profile.words) & _CYCLE)


def is_user(profile: Profile) -> bool:
    """Whether it is called like the id of a user."""
    return _is_id(profile, _USER)


def is_item(profile: Profile) -> bool:
    """Whether it is called like the id of what is shown."""
    return _is_id(profile, _ITEM)


def is_request(profile: Profile) -> bool:
    """Whether it is called like the id of something that never comes again."""
    return _is_id(profile, _REQUEST)


def _is_id(profile: Profile, what: frozenset[str]) -> bool:
    words = profile.words
    return bool(set(words[:1]) & what) and set(words[1:]) <= {"id", "key", "no"}


def is_number(profile: Profile) -> bool:
    """Whether whole numbers are called like amounts, not like categories."""
    return _head(profile) in _NUMBER


def is_category(profile: Profile) -> bool:
    """Whether whole numbers are called like categories."""
    return _head(profile) in _ID or is_cycle(profile) or is_user(profile)


def _head(profile: Profile) -> str:
    """The last word that tells: author_followers are followers, zip_code is a code."""
    found = [word for word in profile.words if word in _NUMBER | _ID]
    return found[-1] if found else ""


def is_weight(profile: Profile) -> bool:
    """Whether it is called like the weight of a row."""
    return profile.words in (("weight",), ("sample", "weight"), ("instance", "weight"))


def is_event(profile: Profile) -> bool:
    """Whether it is called like the kind of an event, and has kinds of actions."""
    words = profile.words
    called = bool(set(words) & (_EVENT - {"type"})) or words == ("type",)
    actions = _REACTIONS.union(*_FUNNEL, _SHOWN)
    return called and any(set(words_of(value)) & actions for value in profile.values)


def is_shown(event: str) -> bool:
    """Whether a kind of event is that of an impression."""
    return bool(set(words_of(event)) & _SHOWN)


def domain_rank(profile: Profile) -> int | None:
    """The lower, the more it is called like a domain; None if it is not."""
    words = set(profile.words)
    found = [i for i, name in enumerate(_DOMAIN) if name in words]
    return min(found, default=None)


def is_prediction(profile: Profile, label: str) -> bool:
    """Whether it is called like a prediction of a label, such as p_click."""
    first, *rest = profile.words or ("",)
    return first in _PREDICTED and tuple(rest) == words_of(label)
