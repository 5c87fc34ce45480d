"""What the server counts, under the names that TF Serving's dashboards ask for.

Written in Prometheus' text format here and not by `prometheus_client`, which ends every
counter's name in `_total`; TF Serving's `:tensorflow:serving:request_count` does not
end so. The numbers belong to the process, as TF Serving's do.
"""

import bisect
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_lock = threading.Lock()
_metrics: list["Counter | Histogram"] = []


class Counter:
    """A number that only grows, one for each combination of label values.

    Args:
        name: str. The name in the page.
        labels: tuple of str. The label names.
    """

    kind = "counter"

    def __init__(self, name: str, labels: tuple[str, ...]):
        self.name = name
        self.labels = labels
        self._values: dict[tuple[str, ...], int] = {}
        _metrics.append(self)

    def add(self, *label_values: str, by: int = 1) -> None:
        """Adds `by` to the number of these label values."""
        with _lock:
            self._values[label_values] = self._values.get(label_values, 0) + by

    def values(self) -> dict[tuple[str, ...], int]:
        """Gives the numbers by their label values."""
        return dict(self._values)

    def lines(self, counted: Iterable[Mapping[tuple[str, ...], int]]) -> list[str]:
        """Writes the lines of the page: the sums of what processes have counted."""
        total: dict[tuple[str, ...], int] = {}
        for process in counted:
            for key, number in process.items():
                total[key] = total.get(key, 0) + number
        return [
            f"{self.name}{_braces(self.labels, key)} {number}"
            for key, number in sorted(total.items())
        ]


class Histogram:
    """Counts of values by size, one row of buckets for each combination of labels.

    Args:
        name: str. The name in the page.
        labels: tuple of str. The label names.
        bounds: sequence of float. Upper bounds of the buckets, the last one open.
    """

    kind = "histogram"

    def __init__(self, name: str, labels: tuple[str, ...], bounds: Sequence[float]):
        self.name = name
        self.labels = labels
        self._bounds = list(bounds)
        self._rows: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        _metrics.append(self)

    def observe(self, value: float, *label_values: str) -> None:
        """Puts a value into its bucket."""
        bucket = bisect.bisect_right(self._bounds, value)  # TF's are open above
        with _lock:
            row = self._rows.get(label_values)
            if row is None:
                row = self._rows[label_values] = ([0] * (len(self._bounds) + 1), [0.0])
            row[0][bucket] += 1
            row[1][0] += value

    def values(self) -> dict[tuple[str, ...], tuple[list[int], float]]:
        """Gives the counts of the buckets and the sum by their label values."""
        return {key: (list(row[0]), row[1][0]) for key, row in self._rows.items()}

    def lines(
        self, counted: Iterable[Mapping[tuple[str, ...], tuple[list[int], float]]]
    ) -> list[str]:
        """Writes the lines of the page: cumulative buckets, sum and count."""
        lines = []
        limits = [f"{bound:.6g}" for bound in self._bounds] + ["+Inf"]
        rows: dict[tuple[str, ...], tuple[list[int], float]] = {}
        for process in counted:
            for key, (counts, total) in process.items():
                known, so_far = rows.get(key, ([0] * len(limits), 0.0))
                rows[key] = (
                    [a + b for a, b in zip(known, counts, strict=True)],
                    (so_far + total),
                )
        for values, (counts, total) in sorted(rows.items()):
            count = 0
            for limit, in_bucket in zip(limits, counts, strict=True):
                count += in_bucket
                braces = _braces((*self.labels, "le"), (*values, limit))
                lines.append(f"{self.name}_bucket{braces} {count}")
            braces = _braces(self.labels, values)
            lines.append(f"{self.name}_sum{braces} {total:.10g}")
            lines.append(f"{self.name}_count{braces} {count}")
        return lines


def snapshot() -> dict[str, Any]:
    """Gives what this process has counted, {metric: its values}."""
    with _lock:
        return {metric.name: metric.values() for metric in _metrics}


def page(others: Iterable[Mapping[str, Any]] = ()) -> str:
    """Writes everything counted so far in Prometheus' text format.

    Args:
        others: iterable of dict. Snapshots of other processes, to be added. Defaults
            to none.

    Returns:
        str, the page.
    """
    counted, lines = [snapshot(), *others], []
    for metric in _metrics:
        if found := metric.lines([process[metric.name] for process in counted]):
            lines += [f"# TYPE {metric.name} {metric.kind}", *found]
    return "\n".join(lines) + "\n"


def _braces(labels: Sequence[str], values: Sequence[str]) -> str:
    pairs = zip(labels, values, strict=True)
    return "{" + ",".join(f'{label}="{_escape(value)}"' for label, value in pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


_MICROSECONDS = [10 * 1.8**power for power in range(33)]  # up to 25 minutes
_POWERS_OF_TWO = [2**power for power in range(15)]

REQUEST_COUNT = Counter(":tensorflow:serving:request_count", ("model_name", "status"))
REQUEST_LATENCY = Histogram(
    ":tensorflow:serving:request_latency",
    ("model_name", "API", "entrypoint"),
    _MICROSECONDS,
)
RUNTIME_LATENCY = Histogram(
    ":tensorflow:serving:runtime_latency",
    ("model_name", "API", "runtime"),
    _MICROSECONDS,
)
EXAMPLE_COUNTS = Histogram(
    ":tensorflow:serving:request_example_counts", ("model",), _POWERS_OF_TWO
)
EXAMPLE_COUNT_TOTAL = Counter(
    ":tensorflow:serving:request_example_count_total", ("model",)
)
WARMUP_LATENCY = Histogram(
    ":tensorflow:serving:model_warmup_latency", ("model_path", "status"), _MICROSECONDS
)
QUEUING_LATENCY = Histogram(
    ":tensorflow:serving:batching_session:queuing_latency",
    ("thread_pool_name",),
    _MICROSECONDS,
)
PROCESSED_BATCH_SIZE = Histogram(
    ":tensorflow:serving:batching_session:processed_batch_size",
    ("thread_pool_name",),
    _POWERS_OF_TWO,
)
LOAD_ATTEMPT_COUNT = Counter(
    ":tensorflow:cc:saved_model:load_attempt_count", ("model_path", "status")
)
LOAD_LATENCY = Counter(":tensorflow:cc:saved_model:load_latency", ("model_path",))
# TF Serving has no such limits. The status is that of HTTP, or "closed".
REFUSAL_COUNT = Counter(":serving:refusal_count", ("reason", "status"))
