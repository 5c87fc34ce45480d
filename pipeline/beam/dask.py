"""Beam's Dask runner, so that a job ends when it is done, and only then.

Beam's keeps its connection to the scheduler open when the job is done. Each job of a
pipeline would add one, and complain when the scheduler ends. And where the scheduler
is lost, it takes the job for done.
"""

import logging

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.dask import dask_runner

# What it says of a lost scheduler is raised, too. Its level is set by its import.
logging.getLogger("distributed.client").setLevel(logging.CRITICAL)


class DaskRunner(dask_runner.DaskRunner):
    """The same, but for the end."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> "_Result":
        """Starts the job."""
        result = super().run_pipeline(pipeline, options)
        return _Result(result.client, result.futures)


class _Result(dask_runner.DaskRunnerResult):
    def wait_until_finish(self, duration: int | None = None) -> str:
        try:
            state = super().wait_until_finish(duration)
            lost = sum(future.status != "finished" for future in self.futures)
            if lost:
                raise RuntimeError(
                    f"{lost} of the job's {len(self.futures)} parts were cancelled; "
                    "the scheduler was lost"
                )
            return state
        finally:
            self.client.close()
