"""What all work of our Beam jobs has in common."""

from typing import Any

import apache_beam as beam

from pipeline.storage import away


class Work(beam.DoFn):
    """A DoFn whose workers may be on machines that share no folder; see `away`.

    Its files are written by `atomic_write` and found by `away.fetch`.
    """

    _job: away.Job | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A scheduler that hands it on has not started the job.
        return {**self.__dict__, "_job": away.started() or self._job}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        away.join(self._job)
