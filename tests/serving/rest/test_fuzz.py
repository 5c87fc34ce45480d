"""Requests that nobody would think of: never an answer of 5xx."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_ANY_TEXT = st.text(max_size=6)  # lone surrogates and control characters too
_NUMBER = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 1e308, 1e-45, -0.0])
)
_SCALAR = (
    st.none()
    | st.booleans()
    | _NUMBER
    | _ANY_TEXT
    | st.fixed_dictionaries({"b64": st.sampled_from(["aGk=", "aGk", "*", "", "é"])})
)
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_ANY_TEXT | st.just("b64"), inner, max_size=3)
    ),
    max_leaves=6,
)
_SIGNATURES = "serving_default echo add total half positive regress classify no".split()
_NAMES = st.sampled_from("x user price history i32 u64 f32 f64 flag text".split())
_ROW = st.dictionaries(_NAMES | _ANY_TEXT, _VALUE, max_size=4)
# Rows that are nearly right find more than those that are not.
_GOOD_ROW = st.fixed_dictionaries(
    {
        "user": st.text(max_size=4) | _SCALAR,
        "price": st.floats(width=32) | _SCALAR,
        "history": st.lists(_ANY_TEXT | _SCALAR, min_size=0, max_size=3),
    }
)
_GOOD_ECHO = st.fixed_dictionaries(
    {name: _VALUE for name in ("i32", "u64", "f32", "f64", "flag", "text")}
)
_EXAMPLE = st.dictionaries(st.just("x") | _ANY_TEXT, _VALUE, max_size=3)
_DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from(_SIGNATURES) | _VALUE,
        "instances": st.lists(_ROW | _GOOD_ROW | _GOOD_ECHO | _VALUE, max_size=3)
        | _VALUE,
        "inputs": _ROW | _GOOD_ECHO | _VALUE,
        "examples": st.lists(_EXAMPLE | _VALUE, max_size=3) | _VALUE,
        "context": _EXAMPLE | _VALUE,
    },
)
_GOOD = st.sampled_from(
    [
        {"signature_name": "add", "instances": [1, 2.5]},
        {"signature_name": "total", "inputs": {"x": [1, 2]}},
        {"signature_name": "regress", "examples": [{"x": 1.0}]},
        {"signature_name": "classify", "context": {"x": 0.5}, "examples": [{}]},
    ]
)
_BODY = (
    st.builds(json.dumps, _GOOD | _DOCUMENT | _VALUE, ensure_ascii=st.booleans()).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    | st.binary(max_size=40)
    | st.builds(
        lambda text, cut: text[: -cut or None],
        _DOCUMENT.map(lambda value: json.dumps(value).encode()),
        st.integers(0, 5),
    )
)
_SEGMENT = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8
)
_PATH = st.builds(
    "/v1/models/{}{}{}".format,
    st.sampled_from(["toy", "toy", "toy", "other", "..", "%2e%2e", "%ff", ""])
    | _SEGMENT,
    st.sampled_from(["", "", "/versions/1", "/labels/stable", "/labels/gone"])
    | st.integers(-5, 2**70).map("/versions/{}".format)
    | _SEGMENT.map("/labels/{}".format),
    st.sampled_from([":predict", ":predict", ":regress", ":classify", "/metadata", ""])
    | _SEGMENT,
) | _SEGMENT.map("/{}".format)
_METHOD = st.sampled_from(["POST"] * 6 + "GET HEAD OPTIONS PUT DELETE PATCH".split())
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["text/plain", "application/json", "x"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br"]),
        "Origin": st.sampled_from(["http://a", "null"]),
    },
)


@pytest.fixture
def connection(server):
    """A connection that stays open, so that requests follow fast."""
    client = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=240)
    yield client
    client.close()


def _fuzz(connection, examples):
    statuses = {}

    @settings(
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_METHOD, _PATH, _BODY, _HEADERS)
    def ask(method, path, body, headers):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status < 500, text
        is_json = answer.headers["Content-Type"] == "application/json"
        # Empty where TF Serving's is: of a version beyond 64 bits.
        if is_json and method != "HEAD" and (text or answer.status != 400):
            assert isinstance(json.loads(text.decode("utf-8", "replace")), dict)

    ask()
    return statuses


def test_hundreds_of_requests_find_no_5xx(connection):
    statuses = _fuzz(connection, 400)
    assert {200, 400, 404} <= statuses.keys()


@pytest.mark.slow
def test_ten_thousand_requests_find_no_5xx(connection):
    statuses = _fuzz(connection, 10_000)
    assert sum(statuses.values()) >= 10_000 and statuses[200] > 30
