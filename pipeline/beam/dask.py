"""Beam's Dask runner, so that a job leaves nothing behind.

Beam's keeps its connection to the scheduler open when the job is done. Each job of a
pipeline would add one, and complain when the scheduler ends.
"""

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.dask import dask_runner


class DaskRunner(dask_runner.DaskRunner):
    """The same, but for the end."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> "_Result":
        """Starts the job."""
        result = super().run_pipeline(pipeline, options)
        return _Result(result.client, result.futures)


class _Result(dask_runner.DaskRunnerResult):
    def wait_until_finish(self, duration: int | None = None) -> str:
        try:
            return super().wait_until_finish(duration)
        finally:
            self.client.close()
