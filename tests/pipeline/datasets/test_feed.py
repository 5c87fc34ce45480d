"""The simulated feed: what its columns promise."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.datasets import feed
from pipeline.datasets.feed_labels import RATES
from pipeline.datasets.feed_world import SHARES

ORACLE = ["p_" + stage for stage in feed.STAGES] + ["e_watch_seconds"]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feed")
    summary = feed.generate(folder, impressions=150_000, seed=3)  # two shards
    return folder, summary, pq.read_table(folder).to_pandas()


def test_same_seed_same_bytes(tmp_path):
    def content(folder, seed):
        feed.generate(tmp_path / folder, impressions=2_000, seed=seed)
        (path,) = (tmp_path / folder).iterdir()
        return path.read_bytes()

    assert content("a", seed=1) == content("b", seed=1)
    assert content("a", seed=1) != content("c", seed=2)


def test_oracle_is_optional_and_changes_nothing_else(tmp_path):
    feed.generate(tmp_path / "with", impressions=2_000)
    feed.generate(tmp_path / "without", impressions=2_000, write_probabilities=False)
    table = pq.read_table(tmp_path / "with")
    assert table.drop_columns(ORACLE).equals(pq.read_table(tmp_path / "without"))


def test_shards_are_ordered_and_replace_earlier_ones(tmp_path, logs):
    folder, _, _ = logs
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [
        "impressions-00000-of-00002.parquet",
        "impressions-00001-of-00002.parquet",
    ]
    times = [pq.read_table(path)["timestamp"].to_numpy() for path in paths]
    assert all((np.diff(time) >= 0).all() for time in times)
    assert times[0][-1] < times[1][0]

    stale = tmp_path / "impressions-00001-of-00002.parquet"
    stale.touch()
    feed.generate(tmp_path, impressions=1_000)
    assert not stale.exists()


def test_rates_and_shares(logs):
    _, summary, data = logs
    assert json.loads(json.dumps(summary)) == summary
    assert summary["rows"] == len(data) == 150_000
    for index, domain in enumerate(feed.DOMAINS):
        here = data[data["tab"] == domain]
        assert len(here) / len(data) == pytest.approx(SHARES[index], rel=0.05)
        for task in feed.STAGES:
            rate = here[task].mean()  # over the rows that have the label
            assert summary["positive_rate"][domain][task] == pytest.approx(rate)
            target = RATES[task][index]
            noise = 4 * np.sqrt(target / len(here))
            assert rate == pytest.approx(target, abs=0.05 * target + noise)


def test_oracle_is_calibrated(logs):
    _, _, data = logs
    for task in feed.TASKS:
        expected = "e_" + task if task == "watch_seconds" else "p_" + task
        for _, rows in data.dropna(subset=task).groupby("tab"):
            rows = rows.sort_values(expected)
            for decile in np.array_split(np.arange(len(rows)), 10):
                label = rows[task].iloc[decile]
                mean = rows[expected].iloc[decile].mean()
                variance = mean if expected.startswith("p_") else label.var()
                error = np.sqrt(variance / len(label)) + 1e-4
                assert abs(label.mean() - mean) < 4.5 * error, task


def test_labels_outside_the_sample_space(logs):
    _, _, data = logs
    played = data["played"] == 1
    discovery = data["tab"] == "discovery"
    assert (played == ((data["click"] == 1) | ~discovery)).all()
    assert (data["long_view"].notna() == played).all()
    assert (data["watch_seconds"].notna() == played).all()
    for task in ("long_view", "like", "follow", "forward"):
        assert data.loc[data[task] == 1, "click"].all()
    stayed = data.loc[played, "watch_seconds"] >= 3
    assert (stayed == (data.loc[played, "click"] == 1)).all()
    assert not data[ORACLE].isna().any(axis=None)


def test_watched_is_the_users_recent_past(logs):
    _, _, data = logs
    users = data["user_id"].drop_duplicates().sample(150, random_state=0)
    full = 0
    for _, rows in data[data["user_id"].isin(users)].groupby("user_id"):
        times = rows["timestamp"].to_numpy()
        played = rows["played"].to_numpy() == 1
        videos = rows["video_id"].to_numpy()
        for time, watched in zip(times, rows["watched"], strict=True):
            past = videos[played & (times < time)]
            assert list(watched) == list(past[-20:])
            full += len(watched) == 20
    assert full > 1000  # so that the cut at 20, and the second shard, were seen


def test_statistics_are_point_in_time(logs):
    _, _, data = logs
    users = data["user_id"].drop_duplicates().sample(60, random_state=1)
    for _, rows in data[data["user_id"].isin(users)].groupby("user_id"):
        column = {name: rows[name].to_numpy() for name in rows}
        for index, time in enumerate(column["timestamp"]):
            tab = column["tab"][index]
            before = column["timestamp"] < time
            shown = before & (column["tab"] == tab)
            prior = RATES["click"][feed.DOMAINS.index(tab)]
            assert column["user_impressions_tab"][index] == shown.sum()
            assert column["user_click_rate_tab"][index] == pytest.approx(
                (column["click"][shown].sum() + 10 * prior) / (shown.sum() + 10)
            )
            plays = column["category"][before & (column["played"] == 1)]
            alike = (plays == column["category"][index]).sum()
            assert column["user_category_share"][index] == pytest.approx(
                (alike + 1) / (len(plays) + 12)
            )


def test_a_request_is_one_user_one_moment_and_distinct_videos(logs):
    _, _, data = logs
    requests = data.groupby("request_id")
    columns = ["timestamp", "tab", "user_id", "network"]
    assert (requests[columns].nunique() == 1).all(axis=None)
    assert not data.duplicated(["request_id", "video_id"]).any()
    assert (requests["position"].max() + 1 == requests.size()).all()
    days = (data["timestamp"].max() - data["timestamp"].min()) / 86400
    assert 11.9 < days < 12


def test_signal_is_in_the_columns(logs):
    """Tastes show: users click more in the categories they have watched."""
    _, _, data = logs
    late = data[data["user_impressions_tab"] > 20]
    for _, rows in late.groupby("tab"):
        high = rows["user_category_share"] > rows["user_category_share"].median()
        assert rows.loc[high, "click"].mean() > 1.1 * rows.loc[~high, "click"].mean()


def test_clickbait_makes_tasks_conflict(logs):
    """Some of what gets clicked in discovery is then not watched."""
    _, _, data = logs
    rows = data[data["tab"] == "discovery"]
    mean = rows.groupby("author_id")[["p_click", "p_long_view", "p_forward"]].mean()
    correlation = mean.corr(method="pearson")
    assert correlation.loc["p_click", "p_long_view"] < 0.8
    assert correlation.loc["p_long_view", "p_forward"] < 0.8


def test_population_grows_with_the_impressions(tmp_path, logs):
    small = feed.generate(tmp_path, impressions=15_000)
    _, large, _ = logs
    for count in ("users", "videos", "authors"):
        assert large[count] == pytest.approx(10 * small[count], rel=0.05)


def test_refuses_too_few_rows(tmp_path):
    with pytest.raises(ValueError, match="at least 1000.*Received: impressions=10"):
        feed.generate(tmp_path, impressions=10)
