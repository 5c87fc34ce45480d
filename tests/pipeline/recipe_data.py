"""Made-up files of the layouts that public data sets have."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROWS = 600
RANDOM = np.random.default_rng(0)


def _csv(columns, delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows(zip(*(list(values) for values in columns.values()), strict=True))
    return text.getvalue()


def _some(high, rows=ROWS):
    return RANDOM.integers(0, high, rows)


def _actions(names, rows=ROWS):
    return {name: _some(2, rows) for name in names.split()}


def _funnel(first, second):
    earlier = _some(2)
    return {first: earlier, second: earlier * _some(2)}


def hillstrom(folder):
    visit = _funnel("visit", "conversion")
    columns = {
        "recency": _some(12) + 1,
        "history_segment": [f"{i}) ${i}00 - $200" for i in _some(7)],
        "history": RANDOM.exponential(200, ROWS).round(2),
        "mens": _some(2),
        "womens": _some(2),
        "zip_code": [("Rural", "Urban", "Surburban")[i] for i in _some(3)],
        "newbie": _some(2),
        "channel": [("Phone", "Web", "Multichannel")[i] for i in _some(3)],
        "segment": [("Womens E-Mail", "Mens E-Mail", "No E-Mail")[i] for i in _some(3)],
        **visit,
        "spend": (visit["conversion"] * RANDOM.exponential(90, ROWS)).round(2),
    }
    (folder / "hillstrom_data.csv.gz").write_bytes(
        gzip.compress(_csv(columns).encode())
    )


def deskdrop(folder):
    kinds = ("VIEW", "VIEW", "VIEW", "LIKE", "BOOKMARK", "COMMENT CREATED", "FOLLOW")
    columns = {
        "timestamp": 1_465_000_000 + np.sort(_some(1_000_000, 3 * ROWS)),
        "eventType": [kinds[i] for i in _some(7, 3 * ROWS)],
        "contentId": -3_499_919_498_720_038_879 + _some(9, 3 * ROWS),
        "personId": 8_845_298_781_299_428_018 + _some(9, 3 * ROWS),
        "sessionId": _some(99, 3 * ROWS),
        "userAgent": ['Mozilla (KHTML, like "Gecko")' * i for i in _some(2, 3 * ROWS)],
        "userRegion": [("SP", "", "NY")[i] for i in _some(3, 3 * ROWS)],
        "userCountry": [("BR", "", "US")[i] for i in _some(3, 3 * ROWS)],
    }
    with zipfile.ZipFile(folder / "users_interactions.csv.zip", "w") as archive:
        archive.writestr("users_interactions.csv", _csv(columns))


def epinions(folder):
    scipy_io = pytest.importorskip("scipy.io")
    highest = (50, 30, 5, 5, 5, 11)
    ratings = np.stack([_some(high) + 1 for high in highest], 1)
    trust = np.stack([_some(high) + 1 for high in (50, 50, 11)], 1)
    scipy_io.savemat(folder / "epinions_rating_with_timestamp.mat", {"rating": ratings})
    scipy_io.savemat(folder / "epinion_trust_with_timestamp.mat", {"trust": trust})


def _users(count=30):
    names = ("active_degree", "follow_user_num", "fans_user_num", "friend_user_num")
    columns = {"user_id": range(count), "user_active_degree": ["full_active"] * count}
    for name in (*names[1:], "register_days", "is_live_streamer", "is_video_author"):
        columns[name] = _some(2 if name.startswith("is") else 1000, count)
    columns |= {f"onehot_feat{i}": _some(3, count) for i in range(18)}
    return _csv(columns)


def _shown(actions):
    return {
        "user_id": _some(30),
        "video_id": _some(40),
        "date": 20_220_410 + _some(9),
        "hourmin": 100 * _some(24),
        "time_ms": 1_649_581_149_287 + np.sort(_some(10**9)),
        **_actions(actions),
        "play_time_ms": _some(50_000),
        "duration_ms": _some(50_000) + 1,
    }


def kuairand(folder):
    actions = (
        "is_click is_follow is_comment is_forward long_view is_profile_enter label"
    )
    log = _csv(_shown(actions), "\t").encode()
    name = "processed_standard_kcore_15.tsv.gz"
    (folder / name).write_bytes(gzip.compress(log))
    users = gzip.compress(_users().encode())
    (folder / "user_features_pure.csv.gz").write_bytes(users)


def kuairand_pure(folder):
    actions = (
        "is_click is_like is_follow is_comment is_forward is_hate long_view "
        "is_profile_enter is_rand"
    )
    for days in ("4_08_to_4_21", "4_22_to_5_08"):
        log = _csv({**_shown(actions), "tab": _some(3)})
        (folder / f"log_standard_{days}_pure.csv").write_text(log)
    (folder / "user_features_pure.csv").write_text(_users())
    videos = {
        "video_id": range(40),
        "author_id": _some(9, 40),
        "video_type": ["NORMAL", "AD"] * 20,
        "upload_dt": ["2022-04-10"] * 40,
        "upload_type": ["LongImport", "Kmovie"] * 20,
        "music_id": _some(9, 40),
        "tag": ["39", "2,7"] * 20,
    }
    (folder / "video_features_basic_pure.csv").write_text(_csv(videos))


def ali_ccp(folder):
    users = "101 121 122 124 125 126 127 128 129"
    others = "205 206 207 210 216 508 509 702 853 301 109_14 110_14 127_14 150_14"
    for split in ("train", "val", "test"):
        columns = _funnel("click", "purchase")
        columns |= {name: _some(20) for name in f"{users} {others}".split()}
        for name in "109_14 110_14 127_14 150_14 508 509 702 853".split():
            columns[f"D{name}"] = RANDOM.random(ROWS).round(4)
        (folder / f"ali_ccp_{split}.csv").write_text(_csv(columns))


def aliexpress(folder):
    for split in ("train", "test"):
        columns = {"search_id": np.sort(_some(90))}
        columns |= {f"categorical_{i}": _some(9) for i in range(1, 17)}
        columns |= {f"numerical_{i}": RANDOM.random(ROWS) for i in range(1, 64)}
        columns |= _funnel("click", "conversion")
        (folder / f"{split}.csv").write_text(_csv(columns))


def wechat2021(folder):
    actions = "read_comment comment like click_avatar forward follow favorite"
    log = {
        "userid": _some(30),
        "feedid": _some(40),
        "date_": np.sort(_some(14)) + 1,
        "device": _some(2) + 1,
        **_actions(actions),
        "play": _some(9000),
        "stay": _some(9000),
    }
    (folder / "user_action.csv").write_text(_csv(log))
    feeds = {
        "feedid": range(40),
        "authorid": _some(9, 40),
        "videoplayseconds": _some(60, 40),
        "description": ["104741 122649"] * 40,
        "bgm_song_id": ["", "7.0"] * 20,
        "bgm_singer_id": ["", "9.0"] * 20,
    }
    (folder / "feed_info.csv").write_text(_csv(feeds))


def movielens(folder):
    ratings = {
        "userId": _some(30),
        "movieId": _some(40),
        "rating": (_some(10) + 1) / 2,
        "timestamp": 964_982_703 + np.sort(_some(10**6)),
    }
    (folder / "ratings.csv").write_text(_csv(ratings))
    movies = {
        "movieId": range(40),
        "title": [f"Film, The {i} (1995)" for i in range(40)],
        "genres": ["Adventure|Animation", "(no genres listed)"] * 20,
    }
    (folder / "movies.csv").write_text(_csv(movies))


LAYOUTS = {
    layout.__name__: layout
    for layout in (
        hillstrom,
        deskdrop,
        epinions,
        kuairand,
        kuairand_pure,
        ali_ccp,
        aliexpress,
        wechat2021,
    )
}


def write(name: str, folder: Path) -> None:
    """Writes files of the layout of a public data set into a folder.

    Args:
        name: Its config's.
        folder: Of the files.
    """
    LAYOUTS[name](folder)
