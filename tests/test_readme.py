"""The README is true: its code runs, and its config makes the model that pages ask."""

import csv
import gzip
import itertools
import json
import re
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
import yaml
from doc_pages import blocks
from paths import ROOT
from quick_model import eager_steps

import serving
import tfmtl
from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.components.bulk_inferrer.component import bulk_inferrer
from pipeline.run import run
from serving.client import Client

PAGES = ("README.md", "docs/export.md", "docs/serving.md")


def _blocks(language, page="README.md"):
    return [block.text for block in blocks(language) if block.page == page]


def test_python_example(tmp_path, monkeypatch):
    (code,) = (block for block in _blocks("python") if "import tfmtl" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 24
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    shapes = {task: scores.shape for task, scores in names["scores"].items()}
    assert shapes == {"click": (10000, 1), "like": (10000, 1)}
    assert (tmp_path / "exported" / "saved_model.pb").is_file()


def _write_logs(folder, rows=3000):
    rng = np.random.default_rng(0)
    item = rng.integers(0, 40, rows)
    price = rng.exponential(5, rows)
    click = rng.random(rows) < np.where(price < 4, 0.8, 0.2)  # cheap things sell
    lines = [
        "timestamp,user_id,item_id,price,viewed,click,purchase,dwell_seconds,cart_id"
    ]
    for i in range(rows):
        viewed = "|".join(f"i{j}" for j in rng.integers(0, 40, rng.integers(0, 4)))
        much = price[i] < 2  # and bought and looked at, all the more
        bought, seconds = (
            rng.random() < 0.1 + 0.7 * much,
            rng.exponential(3 + 27 * much),
        )
        after = f"{int(bought)},{seconds:.2f}" if click[i] else ","
        lines.append(
            f"{1000 + i},{rng.integers(0, 90)},i{item[i]},{price[i]:.2f},"
            f"{viewed},{int(click[i])},{after},{i}"
        )
    folder.mkdir()
    text = "\n".join(lines) + "\n"
    (folder / "day1.csv.gz").write_bytes(gzip.compress(text.encode()))


def _rows(count):
    """The first rows of the logs, as a client has them."""
    with gzip.open("logs/day1.csv.gz", "rt") as lines:
        rows = list(itertools.islice(csv.DictReader(lines), count))
    return [
        {
            "user_id": row["user_id"],
            "item_id": row["item_id"],
            "price": float(row["price"]),
            "viewed": row["viewed"].split("|") if row["viewed"] else [],
        }
        for row in rows
    ]


class Shop(NamedTuple):
    """What the README's config has made, in the current folder."""

    config: configs.Config
    artifacts: dict[str, Path]
    url: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The pipeline of the README, and a server of its model."""
    (text,) = (block for block in _blocks("yaml") if "name: shop" in block)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("shop"))
        _write_logs(Path("logs"))
        Path("shop.yaml").write_text(text)
        (export,) = (b for b in _blocks("yaml", "docs/export.md") if "score:" in b)
        config = configs.load(
            "shop.yaml",
            [
                "train.epochs=1",
                "evaluate.importance=null",  # it has tests of its own
                "train.batch_size=512",
                "evaluate.default_rules=[]",  # it has learnt next to nothing
                f"export={json.dumps(yaml.safe_load(export)['export'])}",
            ],
        )
        with eager_steps():
            artifacts = run(config)
        with serving.start("models/shop", "shop") as server:
            yield Shop(config, artifacts, server.url)


def test_the_config_of_own_logs_makes_a_served_model(shop):
    pushed = json.loads((shop.artifacts["pushed_model"] / "pushed.json").read_text())
    assert pushed["version"] == 1
    (body,) = (
        re.search(r"-d '(.*?)'", block).group(1)
        for block in _blocks("shell")
        if "/v1/models/shop:predict" in block
    )
    instances = json.loads(body)["instances"]
    client = Client(shop.url, "shop")
    answer = client.predict([{**instances[0], "viewed": ["i7", "i1"]}])
    # The client pads, converts and fills in; here the same row by hand.
    full = {**instances[0], "viewed": instances[0]["viewed"][:2] + [""]}
    by_hand = client.predict([full])
    of_logs = client.predict(_rows(200))
    # The files of rows get the scores that a client would.
    bulk_inferrer(shop.config, ["logs/*.csv.gz"], Path("scores"))
    (shard,) = Path("scores").glob("*.parquet")
    found = pq.read_table(shard).to_pylist()
    assert [row["cart_id"] for row in found] == [str(i) for i in range(3000)]
    for task, expected in of_logs.items():
        scores = [row[task] for row in found[: len(expected)]]
        np.testing.assert_allclose(scores, expected[:, 0], rtol=1e-6, atol=1e-6)
    for task in ("click", "purchase", "dwell_seconds"):
        assert answer[task].shape == (1, 1)
        np.testing.assert_array_equal(answer[task], by_hand[task])


PYTHON = [
    pytest.param(block, id=f"{block.page}:{block.line}")
    for block in blocks("python")
    if block.page in PAGES and "tfmtl.models.get" not in block.text
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_that_asks_the_served_model(block, shop):
    """And that exports it; the first Python of the README needs no server."""
    graph = str(shop.artifacts["transform_graph"])
    code = block.text.replace("http://localhost:8501", shop.url)
    code = re.sub(r"workspace/shop/Transform/transform_graph/\d+", graph, code)
    names = {"tfmtl": tfmtl}
    if "tfmtl.export" in code:
        file = shop.artifacts["model"] / layout.KERAS_MODEL
        names["model"] = keras.models.load_model(file)
    exec(code, names)
    if "ranked" in names:
        assert np.shape(names["ranked"]["score"]) == (2, 1)


def test_a_request_to_rank_by_hand(shop):
    (curl,) = (b for b in _blocks("shell", "docs/export.md") if "curl" in b)
    body = json.loads(re.search(r"-d '(.*)'", curl, re.DOTALL)[1])
    found = requests.post(f"{shop.url}/v1/models/shop:predict", json=body, timeout=240)
    assert np.shape(found.json()["outputs"]) == (2, 1)


def test_every_architecture_has_a_page():
    readme = (ROOT / "README.md").read_text()
    for name in tfmtl.models.names():
        page = ROOT / "docs" / "models" / f"{name}.md"
        assert f"(docs/models/{name}.md)" in readme
        text = page.read_text()
        assert f"architecture: {name}" in text and "```mermaid" in text
        (config,) = re.findall(r"```yaml\n(.*?model:.*?)```", text, re.DOTALL)[:1]
        options = yaml.safe_load(config)["model"].get("options", {})
        assert set(options) <= set(tfmtl.models.options(name)), name
