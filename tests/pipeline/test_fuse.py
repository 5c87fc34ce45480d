"""The command `fuse`: a SavedModel in a workspace, rows of its valid split, weights."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from conftest import raw_config

from pipeline import config as configs
from pipeline import fusion
from pipeline.__main__ import main
from pipeline.config import Config
from pipeline.report.fusion import front
from pipeline.workspace.metadata import Metadata

LISTS, SIZE = 240, 20
ROWS = LISTS * SIZE


class Model(tf.Module):
    """Predicts two tasks by a number each, and one that never happens."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "a"),
            tf.TensorSpec([None], tf.float32, "b"),
        ]
    )
    def predict(self, a, b):
        never = tf.fill([tf.size(a), 1], 0.01)
        return {"click": a[:, None], "seconds": b[:, None], "never": never}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace as a run leaves it, and the rows: a click is paid with seconds."""
    folder = tmp_path_factory.mktemp("fusion")
    store = Metadata(folder / "metadata.sqlite")
    made = {}
    for component, reads, writes in (
        ("ExampleGen", [], ["examples"]),
        ("Transform", ["examples"], ["transformed_examples"]),
        ("Trainer", ["transformed_examples"], ["model"]),
    ):
        execution = store.begin("run", component, component)
        outputs = {name: folder / component / name / "1" for name in writes}
        inputs = [made[name] for name in reads]
        for artifact in store.complete(execution, {}, inputs, outputs):
            made[artifact.name] = artifact

    random = np.random.default_rng(4)
    p = random.uniform(0.05, 0.5, ROWS)
    seconds = np.clip(30 * (0.55 - p) + random.normal(0, 2, ROWS), 0.5, None)
    click = (random.random(ROWS) < p) * 1.0
    table = {
        "a": p,
        "b": seconds,
        "user": [None if i < SIZE else f"u{i // SIZE // 2}" for i in range(ROWS)],
        "request": np.arange(ROWS) // SIZE,
        "click": click,
        # Known of all rows; those outside of the task's space must not count.
        "seconds": seconds + random.exponential(1, ROWS),
        "never": np.zeros(ROWS),
        "revenue": random.exponential(1, ROWS),
    }
    split = made["examples"].path / "Split-valid"
    split.mkdir(parents=True)
    pq.write_table(pa.table(table), split / "data-00000-of-00001.parquet")
    model = Model()
    tf.saved_model.save(
        model,
        str(made["model"].path / "Format-Serving"),
        signatures={"serving_default": model.predict},
    )
    return folder, table


def write_config(folder, **sections):
    """A YAML file of the workspace's pipeline."""
    raw = raw_config(
        features=[{"name": name, "kind": "numeric"} for name in "ab"],
        tasks=[
            "click",
            {"name": "seconds", "kind": "regression", "space": "click"},
            "never",
        ],
        **{"evaluate": {"group": "user"}, **sections},
    )
    raw["workspace"] = str(folder)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def test_the_command_prints_weights_that_reach_the_goal_on_other_users(
    workspace, tmp_path, capsys
):
    folder, _ = workspace
    current = {"click": 1.0, "seconds": 0.1}
    path = write_config(folder, export={"fused_score": {"weights": current}})
    arguments = ["fuse", path, "--goal", "seconds", "--keep", "click>=0.8"]
    arguments += ["--group", "request", "--output", str(tmp_path), "--tries", "120"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "fusion.json").read_text())

    # What is printed can be pasted.
    pasted = yaml.safe_load(printed[printed.index("export:") :].split("\n\n")[0])
    raw = yaml.safe_load(open(path)) | pasted
    score = Config.model_validate(raw).export.fused_score
    assert score.weights == written["weights"]
    gains = written["confirmed"]["gains"]
    assert gains["seconds"]["low"] > 1 and "goal: confirmed" in printed
    assert written["searched"]["ratios"]["click"] >= 0.8
    assert gains["never"]["value"] is None and "0 rows are too few" in printed
    assert "never" not in written["weights"]  # it is the same for all rows
    assert written["current"] == current
    assert len(written["points"]) == 120
    # The first list's user is not known. Two requests are one user's.
    assert written["searched"]["groups"] + written["confirmed"]["groups"] == LISTS - 1
    assert written["searched"]["rows"] + written["confirmed"]["rows"] == ROWS - SIZE


def choose(folder, **wanted):
    config = configs.load(write_config(folder))
    wanted = {"goal": {"click": 1.0}, "at_least": {}, "at_most": {}, **wanted}
    wanted = {"group": "user", "tries": 20, **wanted}
    return fusion.choose(config, fusion.Wanted(**wanted))


def test_a_label_outside_its_space_earns_nothing(workspace):
    folder, _ = workspace
    chosen = choose(folder)
    assert 0 < chosen.gains["click"].rows < 0.6 * chosen.rows[1]
    assert chosen.gains["seconds"].rows == chosen.gains["click"].rows


def test_a_user_is_searched_or_confirmed_on_and_rows_are_limited(workspace):
    folder, table = workspace
    users = np.array([-1 if u is None else int(u[1:]) for u in table["user"]])
    wanted = fusion.Wanted({}, {}, {}, "request", rows=ROWS // 2)
    halves = fusion._halves(np.asarray(table["request"]), users, wanted)
    a, b = (set(users[half]) for half in halves)
    assert a and b and not a & b and -1 not in a | b
    assert 0.4 * ROWS < halves[0].sum() + halves[1].sum() < 0.6 * ROWS
    assert abs(len(a) - len(b)) <= 1


def test_what_is_no_task_can_be_a_goal(workspace):
    chosen = choose(workspace[0], goal={"revenue": 1.0}, tries=100)
    # It has nothing to do with the scores: the search was lucky, and no more.
    assert chosen.found.chosen.goal > 1
    gain = chosen.gains["revenue"]
    assert gain.low < 1 < gain.high


def test_a_verdict_needs_the_whole_interval(workspace):
    chosen = choose(workspace[0])
    gain = chosen.gains["click"]
    assert gain.low < gain.high

    def verdict(at_least):
        wanted = fusion.Wanted({}, {"click": at_least}, {}, "user")
        return chosen.verdict("click", wanted)

    middle = (gain.low + gain.high) / 2
    shares = (gain.low - 0.01, middle, gain.high + 0.01)
    assert [verdict(share) for share in shares] == ["kept", "open", "broken"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--goal", "clik"], "'clik' is neither a task nor a column"),
        (["--goal", "click", "--keep", "seconds"], "in quotes, as a shell"),
        (["--goal", "click", "--keep", "seconds>=0"], "above 0"),
        (["--goal", "click=much"], "'much' is no number"),
        (["--goal", "never"], "Received: 0 of 'never'"),
        (["--goal", "click=0"], "other than 0"),
        (["--goal", "click", "--group", "usr"], "'usr' is not in the examples"),
        (["--goal", "click", "--top", "0"], "--top: must be 1 or more"),
        (
            ["--goal", "click", "--keep", "seconds>=9", "--tries", "20"],
            "none meets seconds >= 9",
        ),
    ],
)
def test_what_cannot_be_done_is_told(workspace, capsys, arguments, message):
    assert main(["fuse", write_config(workspace[0]), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_group_and_a_model_are_needed(tmp_path, workspace, capsys):
    path = write_config(workspace[0], evaluate={})
    assert main(["fuse", path, "--goal", "click"]) == 2
    assert "--group: name the column" in capsys.readouterr().err
    path = write_config(tmp_path)
    assert main(["fuse", path, "--goal", "click"]) == 2
    assert "nothing has run yet" in capsys.readouterr().err


def test_the_model_must_predict_every_task(workspace, capsys):
    path = write_config(workspace[0])
    arguments = ["fuse", path, "--goal", "seconds", "--set", "tasks.click.name=clicked"]
    assert main([*arguments, "--set", "tasks.seconds.space=null"]) == 2
    assert "['clicked']" in capsys.readouterr().err


def test_the_front_is_drawn_with_the_bounds(workspace):
    chosen = choose(workspace[0], at_least={"seconds": 0.9})
    wanted = fusion.Wanted({"click": 1.0}, {"seconds": 0.9}, {}, "user")
    svg = front(fusion.record(chosen, wanted))
    for text in ("click, of current", "seconds, of current", "Pareto front", "chosen"):
        assert f">{text}<" in svg
