"""An exported model stays as it is while it is served, asked and replaced."""

import hashlib
import json

import keras
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import serving
import tfmtl
from serving.__main__ import main
from serving.client import Client
from serving.models.warmup import WARMUP_FILE
from serving.release.publish import publish
from serving.release.servers import Servers

_SIGNATURES = {"serving_default", "examples", "rank", "transformed", "classify"}
_ROW = {"user": "u1", "price": 1.5, "seen": ["i1"]}


class _Transform(tf.Module):
    @tf.function(
        input_signature=[
            {
                "user": tf.TensorSpec([None], tf.string, "user"),
                "price": tf.TensorSpec([None], tf.float32, "price"),
                "seen": tf.TensorSpec([None, 2], tf.string, "seen"),
            }
        ]
    )
    def transform(self, raw):
        price = raw["price"]
        return {
            "user": tf.strings.to_hash_bucket_fast(raw["user"], 4),
            "price": tf.where(tf.math.is_nan(price), 0.0, price),
            "seen": tf.strings.to_hash_bucket_fast(raw["seen"], 4),
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model written by `tfmtl.export` alone."""
    folder = tmp_path_factory.mktemp("exported")
    tf.saved_model.save(_Transform(), str(folder / "transform"))
    keras.utils.set_random_seed(0)
    features = [
        tfmtl.Categorical("user", vocabulary_size=4, embedding_dim=2),
        tfmtl.Numeric("price"),
        tfmtl.Sequence("seen", of="user", max_length=2),
    ]
    tasks = [tfmtl.Task("click"), tfmtl.Task("seconds", kind="regression")]
    model = tfmtl.models.get("shared_bottom")(features=features, tasks=tasks)
    tfmtl.export(model, folder / "model", folder / "transform")
    return folder / "model"


def _warmup(folder):
    """{signature: PredictionLog} of the warm-up requests."""
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator()
    logs = list(map(PredictionLog.FromString, records))
    found = {}
    for log in logs:
        request = getattr(log, log.WhichOneof("log_type")).request
        found[request.model_spec.signature_name] = log
    assert len(found) == len(logs)
    return found


def _state(folder):
    """Name, hash of the bytes and time of everything in a directory, and its own."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
            path.stat().st_mtime_ns,
        )
        for path in [folder, *folder.rglob("*")]
    }


def test_warm_up_requests_for_every_signature(exported, tmp_path, capsys):
    assert not (exported / WARMUP_FILE).exists()
    assert main(["warmup", str(exported)]) == 0
    found = _warmup(exported)
    assert set(found) == _SIGNATURES | {"regress"}
    assert all(name in capsys.readouterr().out for name in ["rank, regress"])
    missing = found["rank"].predict_log.request.inputs
    assert tf.make_ndarray(missing["user"]).tolist() == [b""]
    assert np.isnan(tf.make_ndarray(missing["price"])).all()

    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(_ROW) + "\n" + json.dumps({**_ROW, "user": "u2"}))
    assert main(["warmup", str(exported), "--json", str(rows)]) == 0
    found = _warmup(exported)
    raw = found["serving_default"].predict_log.request.inputs
    assert tf.make_ndarray(raw["user"]).tolist() == [b"u1", b"u2"]
    (first, _) = found["regress"].regress_log.request.input.example_list.examples
    assert first.features.feature["price"].float_list.value == [1.5]
    assert first.features.feature["seen"].bytes_list.value == [b"i1"]

    rows.write_text('{"user": "u1"}')
    assert main(["warmup", str(exported), "--json", str(rows)]) == 2
    assert "lacks the input 'price'" in capsys.readouterr().err
    assert main(["warmup", str(tmp_path)]) == 2
    assert "saved_model.pb" in capsys.readouterr().err


def _ask_everything(server):
    ids = {"user": 1, "price": 0.5, "seen": [1, 2]}
    example = tf.train.Example().SerializeToString()
    for name in _SIGNATURES - {"classify"}:
        with Client(server.url, "m", signature_name=name) as client:
            row = {"transformed": ids, "examples": {"examples": example}}.get(name)
            assert np.isfinite(client.predict([row or _ROW])["click"]).all()
    user = {"user": "u1", "seen": ["i1", "i2"]}
    with Client(server.url, "m") as client:
        assert client.rank(user, {"price": [1.0, 2.0]})["click"].shape == (2, 1)
    for verb in ("classify", "regress"):
        body = {"signature_name": verb, "examples": [{"user": "u1", "price": 1.0}]}
        url = f"{server.url}/v1/models/m:{verb}"
        assert requests.post(url, json=body, timeout=240).status_code == 200


def test_serving_changes_nothing(exported, tmp_path):
    main(["warmup", str(exported)])
    first = publish(exported, tmp_path / "m")
    before = {folder: _state(folder) for folder in (exported, first)}
    names = set(before[first])
    assert {"saved_model.pb", str(WARMUP_FILE), "assets.extra/model_card.json"} < names
    with serving.start(tmp_path / "m", "m", poll_seconds=0.05) as server:
        _ask_everything(server)
        second = publish(exported, tmp_path / "m")
        before[second] = _state(second)
        Servers([server.url], "m").wait_for_versions([2])
        _ask_everything(server)
    assert {folder: _state(folder) for folder in before} == before
