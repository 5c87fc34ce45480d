"""The Beam pipeline object for a config: which runner, with which flags."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.config import Config

# Beam's own "DirectRunner" first tries to download the Prism binary, so the in-process
# runner is named by its full path. Its default, one thread, is kept: two
# (--direct_running_mode=multi_threading --direct_num_workers=2) read 1.2 million rows
# 25 % faster, but took 60 % more memory, 0.5 s more for each job, and 55 % more time
# for the shuffle of the statistics, which then goes through gRPC.
_LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline(config: Config) -> beam.Pipeline:
    """Returns an empty Beam pipeline; use it as a context manager to run it.

    Args:
        config: Its `beam` section names the runner ("local": in this process) and the
            runner's usual flags, which win over our defaults.
    """
    runner = _LOCAL if config.beam.runner == "local" else config.beam.runner
    # Flags that come later win.
    flags = [f"--runner={runner}", "--no_pipeline_type_check", *config.beam.flags]
    return beam.Pipeline(options=PipelineOptions(flags))
