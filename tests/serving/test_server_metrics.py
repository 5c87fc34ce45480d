"""The page that Prometheus reads, under TF Serving's names."""

import re

import pytest
import requests

from serving import metrics
from serving.metrics import Counter, Histogram

_SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*\{(\w+="([^"\\]|\\.)*",?)*\} [0-9.e+-]+')


@pytest.fixture
def only_mine(monkeypatch):
    """An empty list of metrics; the server's own come back afterwards."""
    monkeypatch.setattr(metrics, "_metrics", [])


def test_counters(only_mine):
    counter = Counter(":a:count", ("model", "status"))
    assert metrics.page() == "\n"  # what was never counted is left out
    counter.add("m", "OK")
    counter.add("m", "OK", by=2)
    counter.add('q"\\\n', "NO")
    assert metrics.page().splitlines() == [
        "# TYPE :a:count counter",
        ':a:count{model="m",status="OK"} 3',
        r':a:count{model="q\"\\\n",status="NO"} 1',
    ]


def test_histograms_are_cumulative(only_mine):
    histogram = Histogram(":a:size", ("model",), [1, 2, 4.5])
    for value in (0.5, 1, 1.5, 3, 100):
        histogram.observe(value, "m")
    assert metrics.page().splitlines() == [
        "# TYPE :a:size histogram",
        ':a:size_bucket{model="m",le="1"} 1',
        ':a:size_bucket{model="m",le="2"} 3',
        ':a:size_bucket{model="m",le="4.5"} 4',
        ':a:size_bucket{model="m",le="+Inf"} 5',
        ':a:size_sum{model="m"} 106',
        ':a:size_count{model="m"} 5',
    ]


def _value(server, start):
    path = server.url + "/monitoring/prometheus/metrics"
    page = requests.get(path, timeout=240)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/plain")
    lines = page.text.splitlines()
    assert all(x.startswith("# TYPE :") or _SAMPLE.fullmatch(x) for x in lines)
    return sum(int(x.split()[-1]) for x in lines if x.startswith(start))


def test_a_server_counts_its_requests(server):
    good = ':tensorflow:serving:request_count{model_name="toy",status="OK"}'
    bad = good.replace("OK", "INVALID_ARGUMENT")
    latency = (
        ':tensorflow:serving:request_latency_count{model_name="toy",API="predict",'
        'entrypoint="REST"}'
    )
    runtime = (
        ':tensorflow:serving:runtime_latency_count{model_name="toy",API="Predict",'
        'runtime="TF1"}'
    )
    loads = ":tensorflow:cc:saved_model:load_attempt_count"
    before = [_value(server, start) for start in (good, bad, latency, runtime)]
    url = server.url + "/v1/models/toy:predict"
    body = '{"signature_name": "add", "instances": [1]}'
    for sent in (body, body, body[:-1]):
        requests.post(url, sent, timeout=240)
    requests.post(url.replace("toy", "other"), body, timeout=240)  # is not counted
    after = [_value(server, start) for start in (good, bad, latency, runtime)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 2, 2]
    assert _value(server, loads) >= 2
    page = requests.get(server.url + "/monitoring/prometheus/metrics", timeout=240).text
    assert 'model_name="other"' not in page  # or anybody could fill the memory


def test_examples_are_counted(server):
    total = ':tensorflow:serving:request_example_count_total{model="toy"}'
    before = _value(server, total)
    body = '{"signature_name": "regress", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    requests.post(server.url + "/v1/models/toy:regress", body, timeout=240)
    assert _value(server, total) - before == 2


def test_other_paths_are_none(server):
    monitoring = server.url + "/monitoring/prometheus/"
    assert requests.get(monitoring + "nope", timeout=240).status_code == 404
    wrong = requests.get(monitoring + "metrics?a=1", timeout=240)
    assert wrong.status_code == 400 and "Unexpected path" in wrong.text
