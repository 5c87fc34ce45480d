"""How requests are put together, and TF Serving's file that says so."""

from dataclasses import dataclass
from pathlib import Path

from serving.config.server import parse_text_file


@dataclass(frozen=True)
class BatchingConfig:
    """How requests are put together; names and defaults are TF Serving's.

    Args:
        max_batch_size: int. Most rows of a request, and of a batch. Defaults to 1000.
        batch_timeout_micros: int. How long a batch that is not full waits for more.
            Defaults to 0: what arrived while the threads were busy goes together.
        max_enqueued_batches: int. Full batches that may wait; above, requests get
            UNAVAILABLE. Defaults to 10.
        num_batch_threads: int. Batches that run at once. Defaults to 2.
        allowed_batch_sizes: tuple of int. Sizes to which batches are padded, with
            copies of their first row, rising to `max_batch_size`. Defaults to none.
        max_execution_batch_size: int. Most rows of a batch, if less than those of a
            request; larger requests are split. Defaults to None, no splitting.
        thread_pool_name: str. The name in the metrics.

    Raises:
        ValueError: a number is below its least value, or the sizes do not rise.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()
    max_execution_batch_size: int | None = None
    thread_pool_name: str = "batch_threads"

    def __post_init__(self):
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}. Received: {getattr(self, name)}"
                )
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1):
            raise ValueError(
                f"allowed_batch_sizes must rise from 1 or more. Received: {sizes}"
            )
        if sizes and sizes[-1] != self.largest:
            raise ValueError(
                "Last entry in allowed_batch_sizes must match max_batch_size, or "
                f"max_execution_batch_size where batches are split: {self.largest}. "
                f"Received: {sizes[-1]}"
            )
        if not 1 <= self.largest <= self.max_batch_size:
            raise ValueError(
                f"max_execution_batch_size must be 1 to {self.max_batch_size}. "
                f"Received: {self.largest}"
            )

    @property
    def largest(self) -> int:
        """Most rows that run at once."""
        if self.max_execution_batch_size is None:
            return self.max_batch_size
        return self.max_execution_batch_size


def read_batching_file(path: Path | None) -> BatchingConfig:
    """Reads TF Serving's own `--batching_parameters_file`.

    `pad_variable_length_inputs` is refused: padding makes answers depend on what
    other requests are in the batch.

    Args:
        path: Path. BatchingParameters in protobuf's text format, or None for the
            defaults.

    Returns:
        BatchingConfig.

    Raises:
        ValueError: the file is not of that format, or asks for what is not supported.
    """
    from serving.config.protos import BatchingParameters

    if path is None:
        return BatchingConfig()
    parsed = parse_text_file(path, BatchingParameters())
    if parsed.pad_variable_length_inputs:
        raise ValueError(
            f"{path}: pad_variable_length_inputs is not supported, since answers would "
            "depend on the batch. Requests of other shapes get batches of their own; "
            "take the line out"
        )
    values = {
        name: getattr(parsed, name).value
        for name in (
            "max_batch_size", "batch_timeout_micros", "max_enqueued_batches",
            "num_batch_threads", "thread_pool_name",
        )
        if parsed.HasField(name)
    }  # fmt: skip
    if parsed.enable_large_batch_splitting.value:
        values["max_execution_batch_size"] = (
            parsed.max_execution_batch_size.value or None
        )
    try:
        return BatchingConfig(
            allowed_batch_sizes=tuple(parsed.allowed_batch_sizes), **values
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
