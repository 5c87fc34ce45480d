"""The Beam pipeline object: on which runner, with which flags."""

import argparse
from collections.abc import Sequence

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as messages
from apache_beam.portability.api import beam_job_api_pb2_grpc as services

from pipeline.config import ConfigError, nearest
from pipeline.config.sections import Beam

# Beam's own "DirectRunner" first tries to download the Prism binary, so the in-process
# runner is named by its full path. Its default, one thread, is kept: two
# (--direct_running_mode=multi_threading --direct_num_workers=2) read 1.2 million rows
# 25 % faster, but took 60 % more memory, 0.5 s more for each job, and 55 % more time
# for the shuffle of the statistics, which then goes through gRPC.
LOCAL = "local"  # the runner in this process
_PATHS = {
    LOCAL: "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "DaskRunner": "pipeline.beam.dask.DaskRunner",
}
# It tells of each job's end.
_QUIET_PRISM = "--prism_log_level=warn"
_LONGEST_ANSWER = 60  # seconds, of a job server that is starting
# Beam puts 128 elements into a partition, which one worker gets; ours are large.
_DASK_PARTITIONS = "--dask_partition_size=1"


def pipeline(section: Beam) -> beam.Pipeline:
    """Returns an empty Beam pipeline; use it as a context manager to run it.

    Args:
        section: Names the runner ("local": in this process) and the runner's usual
            flags, which win over our defaults.
    """
    runner = _PATHS.get(section.runner, section.runner)
    # Flags that come later win.
    defaults = ["--no_pipeline_type_check", _QUIET_PRISM]
    flags = [f"--runner={runner}", *defaults, *section.flags]
    if section.runner == "DaskRunner":
        _know_dask()
        if not any(f.startswith(("--dask_part", "--dask_npart")) for f in flags):
            flags.append(_DASK_PARTITIONS)
    try:
        return beam.Pipeline(options=PipelineOptions(flags))
    except (ValueError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"beam.runner: Beam cannot make a runner of {runner!r}: {error}"
        ) from error


def check_flags(flags: Sequence[str], runner: str | None = None) -> None:
    """Raises a ConfigError for a flag that nobody knows, and Beam would ignore."""
    if runner == "DaskRunner":
        _know_dask()
    parser = _Parser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    found, unknown = parser.parse_known_args(list(flags))
    known = [flag for action in parser._actions for flag in action.option_strings]
    unknown = [flag.partition("=")[0] for flag in unknown]
    if unknown and found.job_endpoint:
        theirs = _flags_of(found.job_endpoint)
        known += theirs
        unknown = [flag for flag in unknown if flag not in theirs]
    for flag in unknown:
        raise ConfigError(
            f"{flag}: neither a flag of this command nor of Beam. A key of the config "
            f"is given by --set KEY=VALUE.{nearest(flag, known)}"
        )


def _flags_of(job_server: str) -> list[str]:
    """The flags of a job server's own, such as Flink's and Spark's."""
    try:
        with grpc.insecure_channel(job_server) as channel:
            answer = services.JobServiceStub(channel).DescribePipelineOptions(
                messages.DescribePipelineOptionsRequest(),
                timeout=_LONGEST_ANSWER,
                wait_for_ready=True,
            )
    except grpc.RpcError as error:
        raise ConfigError(
            f"--job_endpoint: nothing at {job_server} says which flags it knows: "
            f"{error.code().name}. Is the job server up?"
        ) from error
    return [f"--{option.name}" for option in answer.options]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without the list of all of Beam's flags."""

    def error(self, message: str) -> None:
        raise ConfigError(f"Beam's flags: {message}")


def _know_dask() -> None:
    """Loads the runner, and with it its flags, which Beam does not by itself."""
    try:
        import dask.distributed  # noqa: F401

        from pipeline.beam import dask as runner  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"beam.runner: DaskRunner needs dask and distributed: {error}. Install "
            "the extra `dask`: pip install 'tfmtl[dask]'"
        ) from error
