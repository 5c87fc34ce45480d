"""A worker of Flink, Spark or another portable runner, without a container.

The runner starts it on each machine of the cluster, for jobs with the flags
--environment_type=PROCESS --environment_config='{"command": "tfmtl-beam-worker"}'.
In Beam's containers, a program in Go does this.
"""

import argparse
import os
from collections.abc import Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2 as messages
from apache_beam.portability.api import beam_provision_api_pb2_grpc as services
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format


def main(argv: Sequence[str] | None = None) -> None:
    """Asks the runner what to do, and does it until the runner is done.

    Args:
        argv: The flags that the runner gives. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--id", "--provision_endpoint"):
        parser.add_argument(flag, required=True)
    # The others are in what the runner provides.
    args, _ = parser.parse_known_args(argv)
    info = _provided(args.provision_endpoint, args.id)
    os.environ |= {
        "WORKER_ID": args.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    for name in ("logging", "control", "status"):
        if info.HasField(f"{name}_endpoint"):
            endpoint = getattr(info, f"{name}_endpoint")
            os.environ[f"{name.upper()}_API_SERVICE_DESCRIPTOR"] = (
                text_format.MessageToString(endpoint)
            )
    sdk_worker_main.main([])


def _provided(endpoint: str, worker: str) -> messages.ProvisionInfo:
    """What the runner says of the job."""
    with grpc.insecure_channel(endpoint) as channel:
        answer = services.ProvisionServiceStub(channel).GetProvisionInfo(
            messages.GetProvisionInfoRequest(), metadata=[("worker_id", worker)]
        )
    return answer.info


if __name__ == "__main__":
    main()
