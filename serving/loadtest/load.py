"""A load test with open-loop arrivals, of any server of TF Serving's REST API.

Requests start at the times of a Poisson process, whether or not those before them are
answered, as independent users' requests do. The latency of a request counts from the
time at which it was meant to start. A closed loop, which waits for an answer before it
asks again, sends fewer requests while the server is slow and so leaves out the worst
latencies ("coordinated omission").
"""

import asyncio
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import numpy as np

from serving.client.encoding import input_columns

PERCENTILES = (50, 90, 95, 99, 99.9)

_CONNECTIONS = 1000  # at most; a request that waits for one is late, and counts so


@dataclasses.dataclass(frozen=True)
class Load:
    """What came of a load test; all arrays are (requests,), in order of the starts.

    Args:
        seconds: float. Length of the test.
        start: array of float. When each request was meant to start, in seconds.
        sent: array of float. When it was sent; later where this client was too slow.
        end: array of float. When it was answered, or failed.
        status: array of int. The HTTP status; 0 without an answer in time.
        reasons: dict. How often each error happened.
        reconnects: int. Requests that were sent again, on a fresh connection, as the
            server had closed the idle one. Defaults to 0.
    """

    seconds: float
    start: np.ndarray
    sent: np.ndarray
    end: np.ndarray
    status: np.ndarray
    reasons: Mapping[str, int]
    reconnects: int = 0

    @property
    def latency(self) -> np.ndarray:
        """Seconds from the intended start to the answer."""
        return self.end - self.start

    def summary(self) -> dict[str, Any]:
        """Gives the figures, times in milliseconds.

        Returns:
            dict: "requests", "errors", "rate" (meant), "throughput" (good answers a
            second, up to the last answer), "latency_ms" {percentile: value, "mean",
            "max"} of the good answers, None where there are none, "late_ms" (the
            highest delay of this client itself), "reasons" and "reconnects".
        """
        good = self.status == 200
        latency = 1000 * self.latency[good]
        figures = {f"p{p:g}": _percentile(latency, p) for p in PERCENTILES}
        figures["mean"] = float(latency.mean()) if good.any() else None
        figures["max"] = float(latency.max()) if good.any() else None
        length = max(self.seconds, self.end.max(initial=0.0))
        return {
            "requests": len(self.start),
            "errors": int((~good).sum()),
            "rate": len(self.start) / self.seconds,
            "throughput": float(good.sum() / length),
            "latency_ms": figures,
            "late_ms": 1000 * float((self.sent - self.start).max(initial=0.0)),
            "reasons": dict(self.reasons),
            "reconnects": self.reconnects,
        }


def arrivals(rate: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Draws the start times of a Poisson process.

    Args:
        rate: float. Requests a second, on average.
        seconds: float. Length of the test.
        seed: int. Of the random numbers. Defaults to 0.

    Returns:
        array of float, ascending, all below `seconds`.
    """
    random = np.random.default_rng(seed)
    # Given their number, the arrivals of a Poisson process are uniform.
    return np.sort(random.uniform(0, seconds, random.poisson(rate * seconds)))


def load(
    url: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    timeout: float = 10.0,
    seed: int = 0,
) -> Load:
    """Runs a load test.

    Args:
        url: str. Where to post, such as "http://127.0.0.1:8501/v1/models/shop:predict".
        bodies: sequence of bytes. Request bodies, sent in turn.
        rate: float. Requests a second, on average.
        seconds: float. For how long requests start.
        timeout: float. Seconds until a request without an answer has failed.
        seed: int. Of the arrivals.

    Returns:
        Load.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not (rate > 0 and seconds > 0 and bodies):
        raise ValueError(
            "A load test takes a rate and a time above 0, and a request. Received: "
            f"rate={rate}, seconds={seconds}, {len(bodies)} bodies"
        )
    start = arrivals(rate, seconds, seed)
    return asyncio.run(_load(url, bodies, start, seconds, timeout))


async def _load(
    url: str,
    bodies: Sequence[bytes],
    start: np.ndarray,
    seconds: float,
    timeout: float,
) -> Load:
    loop = asyncio.get_running_loop()
    sent, end = np.zeros(len(start)), np.zeros(len(start))
    status = np.zeros(len(start), int)
    reasons: dict[str, int] = {}
    reconnects = 0
    async with _session(timeout) as session, _session(timeout, True) as fresh:

        async def ask(number: int) -> None:
            nonlocal reconnects
            sent[number] = loop.time() - begin
            reason = ""
            try:
                body, reused = bodies[number % len(bodies)], set()
                try:
                    code, text = await _post(session, url, body, reused)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    if not reused:
                        raise
                    reconnects += 1
                    code, text = await _post(fresh, url, body, reused)
                status[number] = code
                if code != 200:
                    reason = f"HTTP {code}: {text[:120].decode('latin-1')}"
            except asyncio.TimeoutError:
                reason = f"no answer within {timeout:g} s"
            except aiohttp.ClientError as error:
                reason = type(error).__name__
            end[number] = loop.time() - begin
            if reason:
                reasons[reason] = reasons.get(reason, 0) + 1

        begin = loop.time()
        tasks = []
        for number, at in enumerate(start):
            if (pause := begin + at - loop.time()) > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(ask(number)))
        await asyncio.gather(*tasks)
    return Load(seconds, start, sent, end, status, reasons, reconnects)


def _session(timeout: float, force_close: bool = False) -> aiohttp.ClientSession:
    """A session that notes in a request's context that its connection was used."""

    async def note(_: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.add("reused")

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, force_close=force_close),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Content-Type": "application/json"},
        trace_configs=[trace],
    )


async def _post(
    session: aiohttp.ClientSession, url: str, body: bytes, context: set[str]
) -> tuple[int, bytes]:
    async with session.post(url, data=body, trace_request_ctx=context) as response:
        return response.status, await response.read()


def bodies(
    signature: Mapping[str, Any],
    signature_name: str,
    rows: Sequence[Mapping[str, Any]] | None,
    rows_per_request: int = 1,
) -> list[bytes]:
    """Makes request bodies in the column form.

    Args:
        signature: dict. The signature, as the server's metadata has it.
        signature_name: str. Its name.
        rows: list of dict. Features, as a client would give them. Defaults to one row
            of missing values, which costs a server about the same.
        rows_per_request: int. Rows in a request; the last ones may be repeated.

    Returns:
        list of bytes.

    Raises:
        ValueError: a row does not fit the signature.
    """
    if rows is None:
        rows = [nothing(signature["inputs"])]
    count = math.ceil(len(rows) / rows_per_request)
    found = []
    for number in range(count):
        picked = [
            rows[(number * rows_per_request + i) % len(rows)]
            for i in range(rows_per_request)
        ]
        columns = input_columns(picked, signature["inputs"])
        body = {"signature_name": signature_name, "inputs": columns}
        found.append(json.dumps(body).encode())
    return found


def nothing(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A row of missing values for the inputs of a signature; 0 for types without."""
    row = {}
    for name, info in inputs.items():
        sizes = [int(d["size"]) for d in info.get("tensor_shape", {}).get("dim", ())]
        value: Any = None if info["dtype"] in ("DT_STRING", "DT_FLOAT") else 0
        for size in reversed(sizes[1:]):
            value = [value] * max(size, 1)
        row[name] = value
    return row


def _percentile(values: np.ndarray, percent: float) -> float | None:
    """A value that was measured, and not one between two of them."""
    if not len(values):
        return None
    return float(np.percentile(values, percent, method="higher"))
