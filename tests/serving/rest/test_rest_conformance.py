"""Cases recorded from TF Serving itself, where the recordings are at hand.

They are kept beside the repository, not in it; `test_rest_api.py` covers the same
ground in small.
"""

import importlib.util
import json
import re

import pytest
import requests
from paths import SHARED

from serving.config.server import ModelConfig
from serving.server import Server

_FOLDER = SHARED / "serving"
_FLUSHED_DENORMAL = "out_f32_shortest_roundtrip"

pytestmark = pytest.mark.skipif(
    not (_FOLDER / "rest_cases.json").is_file(),
    reason="the recorded cases (../shared/serving beside the repository) are absent",
)


def _module(name):
    spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """For each case its level and what disagrees, by the recordings' own runner."""
    base = tmp_path_factory.mktemp("conformance")
    models, runner = _module("conformance_models"), _module("conformance_run")
    for version, bias in (("1", 2.0), ("2", 3.0)):
        models.save(str(base / "conf" / version), bias)
    module = models.Conf(0.0)
    path = str(base / "notdefault" / "1")
    models.tf.saved_model.save(module, path, signatures={"only": module.default})
    configs = [
        ModelConfig("conf", base / "conf", "all", {"stable": 1, "canary": 2}),
        ModelConfig("notdefault", base / "notdefault"),
    ]
    cases = json.loads((_FOLDER / "rest_cases.json").read_text())["cases"]
    found = {}
    with (
        Server(configs, allow_unavailable_labels=True) as server,
        requests.Session() as session,
    ):
        for case in cases:
            answer = session.request(
                case["method"], server.url + case["path"],
                data=case["body"].encode() if "body" in case else None,
                headers=case.get("headers"), timeout=240,
            )  # fmt: skip
            text = answer.content.decode("utf-8", "replace")
            kind = answer.headers.get("Content-Type")
            faults = runner.check(case, answer.status_code, kind, text)
            found[case["id"]] = (case["level"], faults)
    return found


def _at(verdicts, level):
    found = {case: faults for case, (of, faults) in verdicts.items() if of == level}
    assert found
    return found


def test_every_must_case_agrees(verdicts):
    assert {c: f for c, f in _at(verdicts, "must").items() if f} == {}


def test_every_status_agrees_and_nine_texts_in_ten(verdicts):
    cases = _at(verdicts, "must_status_should_text")
    wrong_status = {
        case: faults for case, faults in cases.items()
        if any(re.match("status", fault) for fault in faults)
    }  # fmt: skip
    assert wrong_status == {}
    assert sum(not faults for faults in cases.values()) >= 0.9 * len(cases)


def test_quirks_agree_but_for_the_known_one(verdicts):
    quirks = _at(verdicts, "quirk") | _at(verdicts, "should")
    assert {case for case, faults in quirks.items() if faults} <= {_FLUSHED_DENORMAL}
