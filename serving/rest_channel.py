"""The client's way to a server over REST."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests

from serving.columns import from_json
from serving.retry import RequestError, retry


class RestChannel:
    """Asks one model over HTTP. Not for use by several threads at once.

    Args:
        url: str. The server, such as "http://127.0.0.1:8501".
        model_name: str. The model's name.
        version: int, str or None. A version, a label, or whatever is the newest.
        timeout: float. Seconds to wait for an answer.
        retries: int. How often to try again.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        version: int | str | None,
        timeout: float,
        retries: int,
    ):
        self._model_url = f"{url.rstrip('/')}/v1/models/{model_name}"
        self._version = ""
        if version is not None:
            kind = "versions" if isinstance(version, int) else "labels"
            self._version = f"/{kind}/{version}"
        self._timeout, self._retries = timeout, retries
        self._session = requests.Session()

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def metadata(self) -> dict[str, Any]:
        """Gives name, version and signatures."""
        return self._ask("GET", f"{self._version}/metadata")

    def status(self) -> dict[int, str]:
        """Gives the state of each version."""
        versions = self._ask("GET", "")["model_version_status"]
        return {int(version["version"]): version["state"] for version in versions}

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
        return retry(lambda: self._try(method, suffix, body), self._retries)

    def _try(self, method: str, suffix: str, body: str | None) -> Any:
        url = self._model_url + suffix
        try:
            response = self._session.request(
                method, url, data=body, timeout=self._timeout
            )
        except requests.ConnectionError as error:
            raise RequestError(
                f"Cannot reach {url}: {error}", is_passing=True
            ) from error
        except requests.RequestException as error:
            raise RequestError(f"{method} {url} failed: {error}") from error
        if response.ok:
            return response.json()
        status = response.status_code
        raise RequestError(_message(response), status, is_passing=status == 503)


def _message(response: requests.Response) -> str:
    try:
        return response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
