"""What runners in other processes say, before a job and to its workers."""

import contextlib
import os
from concurrent import futures
from unittest import mock

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2 as jobs
from apache_beam.portability.api import beam_job_api_pb2_grpc as job_services
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as services

from pipeline.beam import dask, runner, worker
from pipeline.config import ConfigError


@contextlib.contextmanager
def serving(add, servicer):
    """Yields the address of a gRPC service."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


class _JobServer(job_services.JobServiceServicer):
    def DescribePipelineOptions(self, request, context):
        option = jobs.PipelineOptionDescriptor(name="storage_level")
        return jobs.DescribePipelineOptionsResponse(options=[option])


def test_a_job_server_says_its_own_flags():
    add = job_services.add_JobServiceServicer_to_server
    with serving(add, _JobServer()) as address:
        flags = [f"--job_endpoint={address}", "--storage_level=MEMORY_AND_DISK"]
        runner.check_flags(flags)
        with pytest.raises(ConfigError, match="Did you mean '--storage_level'"):
            runner.check_flags([flags[0], "--storage_levle=x"])


def test_a_job_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr(runner, "_LONGEST_ANSWER", 0.1)
    with pytest.raises(ConfigError, match="nothing at localhost:1 .* DEADLINE"):
        runner.check_flags(["--job_endpoint=localhost:1", "--storage_level=x"])


class _Provision(services.ProvisionServiceServicer):
    def GetProvisionInfo(self, request, context):
        assert ("worker_id", "1-1") in context.invocation_metadata()
        info = provision.ProvisionInfo(runner_capabilities=["a", "b"])
        info.pipeline_options.update({"beam:option:job_name:v1": "shop"})
        info.control_endpoint.url = "localhost:7"
        return provision.GetProvisionInfoResponse(info=info)


def test_a_worker_does_what_the_runner_says(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        worker.sdk_worker_main, "main", lambda argv: seen.update(os.environ)
    )
    add = services.add_ProvisionServiceServicer_to_server
    with mock.patch.dict(os.environ), serving(add, _Provision()) as address:
        flags = ["--id=1-1", f"--provision_endpoint={address}", "--else=x"]
        worker.main(flags)
    assert seen["WORKER_ID"] == "1-1" and seen["RUNNER_CAPABILITIES"] == "a b"
    assert '"shop"' in seen["PIPELINE_OPTIONS"]
    assert seen["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:7"\n'
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in seen


def test_a_dask_job_whose_scheduler_is_lost_is_not_done(monkeypatch):
    monkeypatch.setattr(
        dask.dask_runner.DaskRunnerResult, "wait_until_finish", lambda *_: "DONE"
    )
    futures = [mock.Mock(status=status) for status in ("finished", "cancelled")]
    assert dask._Result(mock.Mock(), futures[:1]).wait_until_finish() == "DONE"
    result = dask._Result(mock.Mock(), futures)
    with pytest.raises(RuntimeError, match="1 of the job's 2 parts"):
        result.wait_until_finish()
    result.client.close.assert_called_once()
