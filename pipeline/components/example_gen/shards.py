"""The Parquet files of one split that one worker writes."""

from concurrent.futures import Executor, Future
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write

SHARD_ROWS = 32_768


class Shards:
    """Writes rows in files of `SHARD_ROWS` rows, each whole or not there.

    Args:
        folder: Where the files go, as `PREFIX-00000000.parquet` and so on.
        prefix: Of their names.
        work: A folder for files that are not whole yet, on the same disk.
        pool: Writes while the caller reads on; one file is waited for before the next.
    """

    def __init__(self, folder: Path, prefix: str, work: Path, pool: Executor):
        self.folder, self.prefix, self.work, self.pool = folder, prefix, work, pool
        self.batches: list[pa.RecordBatch] = []
        self.waiting = self.files = self.rows = 0
        self.writing: Future | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes rows, and writes what makes whole files."""
        self.batches.append(batch)
        self.waiting += batch.num_rows
        self.rows += batch.num_rows
        while self.waiting >= SHARD_ROWS:
            self._write()

    def close(self) -> int:
        """Writes the rest; returns the rows of all files."""
        if self.waiting:
            self._write()
        self._wait()
        return self.rows

    def _write(self) -> None:
        table = pa.Table.from_batches(self.batches)
        self._wait()
        path = self.folder / layout.part_shard(self.prefix, self.files)
        self.writing = self.pool.submit(self._save, table.slice(0, SHARD_ROWS), path)
        self.files += 1
        self.batches = table.slice(SHARD_ROWS).to_batches()
        self.waiting = max(self.waiting - SHARD_ROWS, 0)

    def _wait(self) -> None:
        if self.writing is not None:
            self.writing.result()
            self.writing = None

    def _save(self, table: pa.Table, path: Path) -> None:
        with atomic_write(path, self.work) as part:
            pq.write_table(table, part, compression="zstd")
