"""A client of the REST API, for this server and for TF Serving alike."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests

from serving.columns import from_json, input_columns

_BACKOFF_SECONDS = 0.1


class RequestError(RuntimeError):
    """A request that the server refused, or that did not reach it.

    Args:
        message: str. The server's own message where there is one.
        status: int. The HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class Client:
    """Asks one model of a server. Not for use by several threads at once.

    Args:
        url: str. The server, such as "http://127.0.0.1:8501".
        model_name: str. The model's name.
        signature_name: str. The signature to ask. Defaults to "serving_default".
        timeout: float. Seconds to wait for an answer. Defaults to 10.
        retries: int. How often to try again when the server cannot be reached or
            answers 503, waiting 0.1 s, 0.2 s, 0.4 s ... Defaults to 3.

    Example:
        ```python
        client = Client("http://127.0.0.1:8501", "feed")
        client.predict([{"user_id": 7, "age": 31}])["click"]  # (1, 1)
        ```
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        signature_name: str = "serving_default",
        timeout: float = 10.0,
        retries: int = 3,
    ):
        self._model_url = f"{url.rstrip('/')}/v1/models/{model_name}"
        self._signature_name = signature_name
        self._timeout = timeout
        self._retries = retries
        self._session = requests.Session()
        self._signature: dict[str, Any] | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def predict(
        self, data: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> dict[str, np.ndarray]:
        """Asks for predictions.

        The signature, read once from the server, tells the types: numbers become text
        for string inputs, bytes travel in base64. Columns that the signature does not
        take are left out; one that it takes and that is missing is an error.

        Args:
            data: list of dict (rows), dict of lists or arrays (columns), or pandas
                DataFrame.

        Returns:
            dict, one array for each output.

        Raises:
            ValueError: the data lacks an input, or holds a value of a wrong type.
            RequestError: the server refused the request or could not be reached.
        """
        if self._signature is None:
            self._signature = self._read_signature()
        columns = input_columns(data, self._signature["inputs"])
        # `allow_nan`: the server reads bare NaN, and a feature may well be NaN.
        body = json.dumps(
            {"signature_name": self._signature_name, "inputs": columns}, allow_nan=True
        )
        try:
            answer = self._ask("POST", ":predict", body)["outputs"]
        except RequestError:
            self._signature = None  # a new version may have another: read it anew
            raise
        outputs = self._signature["outputs"]
        if len(outputs) == 1:  # the server does not name a single output
            answer = {next(iter(outputs)): answer}
        return {
            name: from_json(value, outputs[name]["dtype"])
            for name, value in answer.items()
        }

    def status(self) -> dict[int, str]:
        """Gives the state of each version, `{2: "AVAILABLE", 1: "END"}`."""
        versions = self._ask("GET", "")["model_version_status"]
        return {int(version["version"]): version["state"] for version in versions}

    def metadata(self) -> dict[str, Any]:
        """Gives name, version and signatures as the server tells them."""
        return self._ask("GET", "/metadata")

    def _read_signature(self) -> dict[str, Any]:
        signatures = self.metadata()["metadata"]["signature_def"]["signature_def"]
        if self._signature_name not in signatures:
            known = sorted(name for name in signatures if not name.startswith("__"))
            raise ValueError(
                f"The model has no signature {self._signature_name!r}. It has: {known}"
            )
        return signatures[self._signature_name]

    def _ask(self, method: str, suffix: str, body: str | None = None) -> Any:
        url = self._model_url + suffix
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                response = self._session.request(
                    method, url, data=body, timeout=self._timeout
                )
            except requests.ConnectionError as error:
                failure = RequestError(f"Cannot reach {url}: {error}")
                continue
            except requests.RequestException as error:
                raise RequestError(f"{method} {url} failed: {error}") from error
            if response.ok:
                return response.json()
            failure = RequestError(_message(response), response.status_code)
            if response.status_code != 503:
                break
        raise failure


def _message(response: requests.Response) -> str:
    try:
        return response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
