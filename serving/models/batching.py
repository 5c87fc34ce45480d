"""Dynamic batching: requests that arrive together run through the graph together.

Only requests for the same signature of the same version whose inputs have the same
inner shapes meet in a batch, so an answer never depends on the company a request
keeps. What cannot be batched at all (a scalar input, inputs of unequal first dimension,
a request above the largest batch) is refused with the words of TF Serving, whose
batching has the same limits; it is better found out here than there.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving import metrics
from serving.config.batching import BatchingConfig
from serving.errors import Code, ServingError, invalid

Arrays = Mapping[str, np.ndarray]


@dataclass
class _Task:
    """One request that waits for its batch."""

    inputs: Mapping[str, np.ndarray]
    size: int
    arrived: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, np.ndarray] | None = None
    error: Exception | None = None


@dataclass
class _Queue:
    """The requests that may run together."""

    function: Callable[[Arrays], dict[str, np.ndarray]]
    tasks: deque[_Task] = field(default_factory=deque)
    size: int = 0


class Batcher:
    """Puts requests together and runs them on threads of its own.

    Args:
        config: BatchingConfig. Sizes and times.
    """

    def __init__(self, config: BatchingConfig):
        self._config = config
        self._queues: dict[Any, _Queue] = {}  # in the order of their oldest requests
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"batch-{index}")
            for index in range(config.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        function: Callable[[Arrays], dict[str, np.ndarray]],
        key: Hashable,
        inputs: Arrays,
    ) -> dict[str, np.ndarray]:
        """Runs a function in a batch, and waits for its part of the outputs.

        Args:
            function: function. Takes and gives dicts of arrays, such as one signature
                of one version; the caller keeps it usable meanwhile.
            key: hashable. Names the function: calls with the same key run together.
            inputs: dict. One array for each input, all with the same number of rows.

        Returns:
            dict, one array for each output, with the rows of this request.

        Raises:
            ServingError: the request cannot be batched, the queue is full, or the
                graph failed.
        """
        task = _Task(inputs, self._rows(inputs))
        shapes = tuple((value.dtype.str, value.shape[1:]) for value in inputs.values())
        key = (key, tuple(inputs), shapes)
        with self._changed:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(function)
            limit = self._config.max_enqueued_batches * self._config.max_batch_size
            if self._closed or queue.size + task.size > limit:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is "
                    "full",
                )
            queue.tasks.append(task)
            queue.size += task.size
            self._changed.notify()
        task.done.wait()
        if task.error is not None:
            raise task.error
        return task.outputs

    def close(self) -> None:
        """Runs what waits and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _rows(self, inputs: Mapping[str, np.ndarray]) -> int:
        if any(value.ndim == 0 for value in inputs.values()):
            raise invalid(
                "Batching Run() input tensors must have at least one dimension"
            )
        sizes = {len(value) for value in inputs.values()}
        if len(sizes) != 1:
            raise invalid(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
        size = sizes.pop()
        if size > self._config.max_batch_size:
            raise invalid(
                f"Task size {size} is larger than maximum input batch size "
                f"{self._config.max_batch_size}"
            )
        return size

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            queue, tasks = batch
            now = time.monotonic()
            for task in tasks:
                metrics.QUEUING_LATENCY.observe(
                    (now - task.arrived) * 1e6, self._config.thread_pool_name
                )
            try:
                self._run(queue, tasks)
            except Exception as error:
                tasks[0].error = error
                if len(tasks) > 1:  # whose fault it was shows when each runs alone
                    self._run_each(queue, tasks)
            for task in tasks:
                task.done.set()

    def _run_each(self, queue: _Queue, tasks: list[_Task]) -> None:
        for task in tasks:
            task.error = None
            try:
                self._run(queue, [task])
            except Exception as error:
                task.error = error

    def _next(self) -> tuple[_Queue, list[_Task]] | None:
        """Waits for a batch that is full or has waited long enough."""
        patience = self._config.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                soonest = None
                for key, queue in self._queues.items():
                    left = queue.tasks[0].arrived + patience - time.monotonic()
                    full = queue.size >= self._config.largest
                    if left <= 0 or full or self._closed:
                        return self._take(key)
                    soonest = left if soonest is None else min(soonest, left)
                if self._closed:
                    return None
                self._changed.wait(soonest)

    def _take(self, key: Any) -> tuple[_Queue, list[_Task]]:
        queue = self._queues.pop(key)
        tasks = [queue.tasks.popleft()]
        size = tasks[0].size
        while queue.tasks and size + queue.tasks[0].size <= self._config.largest:
            tasks.append(queue.tasks.popleft())
            size += tasks[-1].size
        queue.size -= size
        if queue.tasks:  # at the end again, so that no queue starves the others
            self._queues[key] = queue
            self._changed.notify()
        return queue, tasks

    def _run(self, queue: _Queue, tasks: list[_Task]) -> None:
        inputs = {
            name: _concatenate([task.inputs[name] for task in tasks])
            for name in tasks[0].inputs
        }
        total, step = sum(task.size for task in tasks), self._config.largest
        parts = [
            self._execute(
                queue, {k: v[start : start + step] for k, v in inputs.items()}
            )
            for start in range(0, max(total, 1), step)
        ]
        outputs = {name: _concatenate([p[name] for p in parts]) for name in parts[0]}
        end = 0
        for task in tasks:
            start, end = end, end + task.size
            task.outputs = {name: value[start:end] for name, value in outputs.items()}

    def _execute(
        self, queue: _Queue, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs one batch, padded to an allowed size."""
        size = len(next(iter(inputs.values())))
        allowed = (n for n in self._config.allowed_batch_sizes if n >= size)
        padded = next(allowed, size) if size else 0
        if padded > size:
            inputs = {
                name: np.concatenate([value, np.repeat(value[:1], padded - size, 0)])
                for name, value in inputs.items()
            }
        metrics.PROCESSED_BATCH_SIZE.observe(padded, self._config.thread_pool_name)
        outputs = queue.function(inputs)
        for value in outputs.values():
            if value.ndim == 0:
                raise ServingError(
                    Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
                )
            if len(value) != padded:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of "
                    "the 0th dimension sizes of the input tensors",
                )
        return {name: value[:size] for name, value in outputs.items()}


def _concatenate(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
