"""A client of the REST and gRPC APIs, for this server and for TF Serving alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.encoding import input_columns
from serving.client.rest import RestChannel
from serving.client.retry import RequestError

__all__ = ["Client", "RequestError"]

_GRPC = "grpc://"
# What a server that batches says of one user and several candidates.
_UNEQUAL_ROWS = "must have equal 0th-dimension size"

_Data = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Client:
    """Asks one model of a server. Not for use by several threads at once.

    Data go in as rows, [{feature: value}], columns, {feature: values}, or a pandas
    DataFrame. A DataFrame comes out where one went in, and else arrays.

    Args:
        url: str. The server, such as "http://127.0.0.1:8501", or
            "grpc://127.0.0.1:8500".
        model_name: str. The model's name.
        signature_name: str. The signature to ask. Defaults to "serving_default".
        version: int or str. A version, or a label such as "canary". Defaults to the
            newest version.
        timeout: float. Seconds to wait for an answer. Defaults to 10.
        retries: int. How often to try again when the server cannot be reached or
            is too busy (503, UNAVAILABLE): after as long as its `Retry-After` says, or
            else at once, then after 0.4 to 0.6 s, then twice as long ... Any other
            error is raised at once. gRPC waits 0.2 s before the first, and tries at
            most 4 times. Defaults to 3.

    Raises:
        ValueError: the url is of another kind.

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
        version: int | str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
    ):
        if url.startswith(_GRPC):
            # Late, as the stubs import TensorFlow.
            from serving.client.grpc import GrpcChannel as Channel

            url = url.removeprefix(_GRPC)
        elif url.startswith(("http://", "https://")):
            Channel = RestChannel
        else:
            raise ValueError(
                f"A url starts with http://, https:// or {_GRPC}. Received: {url!r}"
            )
        self._channel = Channel(url, model_name, version, timeout, retries)
        self._signature_name = signature_name
        self._signatures: dict[str, Any] = {}
        self._is_batched = False  # as far as `rank` has found out

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def predict(self, data: _Data, outputs: Sequence[str] | None = None) -> Any:
        """Asks for predictions.

        The signature, read once from the server, tells the types: numbers become text
        for string inputs, bytes travel in base64. Columns that the signature does not
        take are left out; one that it takes and that is missing is an error.

        Args:
            data: list of dict (rows), dict of lists or arrays (columns), or pandas
                DataFrame.
            outputs: sequence of str. The outputs to give. Defaults to all.

        Returns:
            dict, one array for each output; of a DataFrame, a DataFrame with a column
            for each output and the same index.

        Raises:
            ValueError: the data lacks an input, or holds a value of a wrong type.
            RequestError: the server refused the request or could not be reached.
        """
        answer = self._ask(self._signature_name, data, outputs)
        return _frame(answer, data.index) if hasattr(data, "columns") else answer

    def rank(
        self,
        user: Mapping[str, Any],
        candidates: _Data,
        outputs: Sequence[str] | None = None,
        *,
        tile: bool | None = None,
    ) -> Any:
        """Asks for the scores of one user's candidates, through the signature `rank`.

        A server that batches requests (`--enable_batching`) takes only inputs of the
        same number of rows. The first such refusal is answered by sending the user's
        features once for each candidate, from then on with every request.

        Args:
            user: dict. The features that are the same for all candidates, each given
                once.
            candidates: list of dict, dict of columns or DataFrame. The other features.
            outputs: sequence of str. The outputs to give, such as ["score"]. Defaults
                to all.
            tile: bool. Whether the user's features are sent once for each candidate,
                or once. Defaults to None: once, unless the server batches.

        Returns:
            As `predict`, a row for each candidate, in their order.

        Raises:
            ValueError: a feature is missing, or is given by both, or there are no
                candidates.
            RequestError: the server refused the request or could not be reached.
        """
        columns = _columns(candidates)
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            raise ValueError("To rank takes at least one candidate. Received: none")
        if both := sorted(set(user) & set(columns)):
            raise ValueError(
                "A feature belongs to the user or to the candidates. Received from "
                f"both: {both}"
            )

        def ask(times: int) -> dict[str, np.ndarray]:
            shared = {name: [value] * times for name, value in user.items()}
            return self._ask("rank", {**columns, **shared}, outputs)

        is_tiled = self._is_batched if tile is None else tile
        try:
            answer = ask(rows if is_tiled else 1)
        except RequestError as error:
            if is_tiled or tile is not None or _UNEQUAL_ROWS not in str(error):
                raise
            answer = ask(rows)
            self._is_batched = True
        if hasattr(candidates, "columns"):
            return _frame(answer, candidates.index)
        return answer

    @property
    def reconnects(self) -> int:
        """How many requests were sent again as their idle connection was closed.

        That is no failure and takes none of the `retries`; gRPC sees to it itself.
        """
        return self._channel.reconnects

    def status(self) -> dict[int, str]:
        """Gives the state of each version, `{2: "AVAILABLE", 1: "END"}`."""
        return {version: state for version, (state, _) in self.states().items()}

    def states(self) -> dict[int, tuple[str, str]]:
        """Gives state and load error of each version; the error may be ""."""
        return self._channel.states()

    def metadata(self) -> dict[str, Any]:
        """Gives name, version and signatures as the server tells them."""
        return self._channel.metadata()

    def signature(self, name: str) -> dict[str, Any]:
        """Gives the inputs and outputs of a signature, as the metadata has them.

        Raises:
            ValueError: the model has no such signature.
            RequestError: the server refused the request or could not be reached.
        """
        if not self._signatures:
            found = self.metadata()["metadata"]["signature_def"]["signature_def"]
            self._signatures = found
        if name not in self._signatures:
            known = sorted(n for n in self._signatures if not n.startswith("__"))
            raise ValueError(f"The model has no signature {name!r}. It has: {known}")
        return self._signatures[name]

    def _ask(
        self, signature_name: str, data: _Data, outputs: Sequence[str] | None
    ) -> dict[str, np.ndarray]:
        signature = self.signature(signature_name)
        known = sorted(signature["outputs"])
        if unknown := sorted(set(outputs or ()) - set(known)):
            raise ValueError(f"There is no output {unknown[0]!r}. There are: {known}")
        columns = input_columns(data, signature["inputs"])
        try:
            return self._channel.predict(
                signature_name, signature, columns, outputs or known
            )
        except RequestError:
            self._signatures = {}  # a new version may have others: read them anew
            raise


def _columns(data: _Data) -> dict[str, Any]:
    """Any form of data as columns."""
    if isinstance(data, Mapping):
        return dict(data)
    if hasattr(data, "columns"):  # a DataFrame
        return {name: data[name] for name in data.columns}
    names = list(dict.fromkeys(name for row in data for name in row))
    for index, row in enumerate(data):
        if lacking := [name for name in names if name not in row]:
            raise ValueError(f"Row {index} lacks {lacking[0]!r}, which others have")
    return {name: [row[name] for row in data] for name in names}


def _frame(outputs: Mapping[str, np.ndarray], index: Any) -> Any:
    """A DataFrame with a column for each output; (rows, n) becomes lists."""
    import pandas as pd

    columns = {
        name: array.ravel() if array.size == len(index) else list(array)
        for name, array in outputs.items()
    }
    return pd.DataFrame(columns, index=index)
