"""`init` on public data: the labels are those of the papers, and no leak is left in."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from paths import SHARED

from pipeline import config as configs
from pipeline.__main__ import main

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs the real logs of {DATA}"
)


def _epinions(folder):
    io = pytest.importorskip("scipy.io")
    path = DATA / "epinions" / "epinions_rating_with_timestamp.mat"
    names = ["user", "product", "category", "rating", "helpfulness", "time"]
    columns = io.loadmat(path)["rating"].T.astype(np.int64)
    pyarrow.csv.write_csv(pa.table(list(columns), names), folder / "ratings.csv")
    return [str(folder / "ratings.csv")]


def _files(pattern):
    return lambda folder: sorted(str(path) for path in DATA.glob(pattern))


# Name -> its files; {task: its sample space}; domain; what is no feature, and no label.
SETS = {
    "kuairand": (
        _files("kuairand/processed*"),
        dict.fromkeys(
            "is_click label long_view is_profile_enter is_comment is_forward is_follow "
            "play_time_ms".split()
        ),
        None,
        {"date", "time_ms", "comment_stay_time", "timestamp"},
    ),
    "hillstrom": (
        _files("hillstrom/*"),
        {"visit": None, "conversion": "visit", "spend": "conversion"},
        "channel",
        set(),
    ),
    "deskdrop": (
        _files("deskdrop/*"),
        dict.fromkeys(["like", "bookmark", "comment_created", "follow"]),
        None,
        {"timestamp", "eventType", "sessionId"},
    ),
    "epinions": (
        _epinions,
        dict.fromkeys(["helpfulness_2_up", "rating_4_up"]),
        "category",
        {"rating", "helpfulness", "time"},
    ),
    "census": (
        _files("census_income/*"),
        {"column_42_is_50000": None},
        None,
        {"column_42"},
    ),
    "ali_ccp": (
        _files("format_samples/ali_ccp*"),
        {"click": None, "purchase": "click"},
        None,
        None,
    ),
    "aliexpress": (
        _files("format_samples/aliexpress*"),
        {"click": None, "conversion": "click"},
        None,
        None,
    ),
    "wechat": (
        _files("format_samples/wechat_user_action*"),
        dict.fromkeys(["like", "play", "stay"]),
        None,
        {"userid", "date_", "device", "read_comment", "comment", "click_avatar"}
        | {"forward", "follow", "favorite"},
    ),
}


_LARGE = pytest.param("census", marks=pytest.mark.slow)


@pytest.fixture(params=[_LARGE if name == "census" else name for name in SETS])
def real(request, tmp_path, capsys):
    """The name of a set, and the config that `init` writes for it."""
    logs = SETS[request.param][0](tmp_path)
    output = tmp_path / f"{request.param}.yaml"
    work = ["--workspace", str(tmp_path / "work")]
    assert main(["init", *logs, "--output", str(output), *work]) == 0
    unused = [
        line for line in capsys.readouterr().out.splitlines() if "not used" in line
    ]
    names = {name for line in unused for name in line.split(": ", 1)[1].split(", ")}
    return request.param, output, names


def test_labels_spaces_domain_and_what_is_left_out(real):
    name, output, unused = real
    _, tasks, domain, left_out = SETS[name]
    config = configs.load(output)
    assert {task.name: task.space for task in config.tasks} == tasks
    assert config.domain == domain
    if left_out is not None:
        assert unused == left_out


@pytest.mark.slow
def test_it_runs_to_a_pushed_model_without_a_leak(real):
    _, output, _ = real
    config = configs.load(output)
    assert main(["run", str(output)]) == 0
    pushed = [*(output.parent / "work" / "serving_models" / config.name).glob("1")]
    assert pushed
    (found,) = (output.parent / "work" / "Evaluator" / "evaluation").iterdir()
    metrics = json.loads((found / "metrics.json").read_text())
    enough = [record for record in metrics["results"] if not record["too_few"]]
    aucs = [record["model"].get("auc") for record in enough]
    assert not [auc for auc in aucs if auc is not None and auc > 0.99]
