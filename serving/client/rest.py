"""The client's way to a server over REST."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import requests
from requests.adapters import HTTPAdapter

from serving.client.encoding import from_json
from serving.client.retry import HttpRetry, RequestError


def model_url(url: str, model_name: str) -> str:
    """Gives the URL of a model on a server, its name quoted.

    Example:
        >>> model_url("http://127.0.0.1:8501/", "feed #2")
        'http://127.0.0.1:8501/v1/models/feed%20%232'
    """
    return f"{url.rstrip('/')}/v1/models/{quote(model_name, safe='')}"


class RestChannel:
    """Asks one model over HTTP. Not for use by several threads at once.

    Args:
        url: str. The server, such as "http://127.0.0.1:8501".
        model_name: str. The model's name.
        version: int, str or None. A version, a label, or whatever is the newest.
        timeout: float. Seconds to wait for an answer.
        retries: int. How often to try again.

    Attributes:
        reconnects: int. How many requests were sent once more, on a fresh connection,
            as the server had closed the idle one before it saw them.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        version: int | str | None,
        timeout: float,
        retries: int,
    ):
        self._model_url = model_url(url, model_name)
        self._version = ""
        if version is not None:
            kind = "versions" if isinstance(version, int) else "labels"
            self._version = f"/{kind}/{quote(str(version), safe='')}"
        self._timeout = timeout
        self._session = requests.Session()
        policy = HttpRetry.of(retries, self._was_idle)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=policy))
        self._is_open = False  # The connection is, as far as this side knows.
        self.reconnects = 0

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def metadata(self) -> dict[str, Any]:
        """Gives name, version and signatures."""
        return self._ask("GET", f"{self._version}/metadata")

    def states(self) -> dict[int, tuple[str, str]]:
        """Gives state and load error of each version."""
        return {
            int(found["version"]): (
                found["state"],
                found.get("status", {}).get("error_message", ""),
            )
            for found in self._ask("GET", "")["model_version_status"]
        }

    def predict(
        self,
        signature_name: str,
        signature: Mapping[str, Any],
        columns: Mapping[str, Any],
        wanted: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Gives the wanted outputs; the server sends all of them."""
        # `allow_nan`: the server reads bare NaN, and a feature may well be NaN.
        body = json.dumps(
            {"signature_name": signature_name, "inputs": columns}, allow_nan=True
        )
        answer = self._ask("POST", f"{self._version}:predict", body)["outputs"]
        outputs = signature["outputs"]
        if len(outputs) == 1:  # the server does not name a single output
            answer = {next(iter(outputs)): answer}
        return {
            name: from_json(answer[name], outputs[name]["dtype"]) for name in wanted
        }

    def _ask(self, method: str, suffix: str, body: str | None = None) -> Any:
        url = self._model_url + suffix
        try:
            response = self._session.request(
                method, url, data=body, timeout=self._timeout
            )
        except requests.RequestException as error:
            self._is_open = False
            if isinstance(error, requests.ConnectionError):
                raise RequestError(f"Cannot reach {url}: {error}") from error
            raise RequestError(f"{method} {url} failed: {error}") from error
        self._is_open = True
        if response.ok:
            return response.json()
        raise RequestError(_message(response), response.status_code)

    def _was_idle(self) -> bool:
        """Whether the connection that is closed had answered before; counts those."""
        was_open, self._is_open = self._is_open, False
        self.reconnects += was_open
        return was_open


def _message(response: requests.Response) -> str:
    try:
        return response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
