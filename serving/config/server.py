"""What to serve and within what limits; TF Serving's own configuration files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Args:
        name: str. The name in the URL.
        base_path: Path. The directory whose numeric children are the versions.
        versions: int, "all" or tuple of int. The newest N, every one, or exactly
            these. Defaults to 1, the newest alone.
        labels: dict. Version of each label that a URL may use. Defaults to none.

    Raises:
        ValueError: an argument is out of its range.
    """

    name: str
    base_path: Path
    versions: int | str | tuple[int, ...] = 1
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if not self.name or set(self.name) & set("/:"):
            raise ValueError(
                "A model name is the part of a URL, not empty and without '/' and "
                f"':'. Received: {self.name!r}"
            )
        if isinstance(self.versions, int) and self.versions < 1:
            raise ValueError(
                f"At least one version must be served. Received: {self.versions}"
            )
        if isinstance(self.versions, str) and self.versions != "all":
            raise ValueError(
                "versions is a number of newest versions, 'all' or a tuple of "
                f"versions. Received: {self.versions!r}"
            )


@dataclass(frozen=True)
class Limits:
    """What the server refuses to take on.

    Args:
        max_body_bytes: int. Longest request body, packed or not. Defaults to 32 MiB.
        max_in_flight: int. Requests at work or waiting for it; above, they get 503
            and `Retry-After`. Defaults to 128.
        max_connections: int. Open connections; above, those that have been idle
            longest are closed. Defaults to 1000.
        request_seconds: float. Longest time for an answer; above, 504. Defaults to 30.
        header_seconds: float. Longest time for a request's head. Defaults to 10.
        body_seconds: float. Longest time for a request's body, and for a client that
            reads nothing of its answer. Defaults to 30.
        idle_seconds: float. Longest silence between requests; above, the connection
            is closed. Defaults to 75.

    Raises:
        ValueError: a limit is not positive.
    """

    max_body_bytes: int = 32 * 2**20
    max_in_flight: int = 128
    max_connections: int = 1000
    request_seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0

    def __post_init__(self):
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive. Received: {value}")


def read_config_file(path: Path) -> list[ModelConfig]:
    """Reads TF Serving's own `--model_config_file`.

    Args:
        path: Path. A ModelServerConfig in protobuf's text format.

    Returns:
        list of ModelConfig, one for each `config` of the list.

    Raises:
        ValueError: the file is not of that format.
    """
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    message = parse_text_file(path, ModelServerConfig())
    try:
        models = model_configs(message)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not models:
        raise ValueError(f"{path} names no model: model_config_list is empty")
    return models


def model_configs(message: Any) -> list[ModelConfig]:
    """Gives the models of a ModelServerConfig message.

    Raises:
        ValueError: TF Serving would refuse it.
    """
    models = []
    for config in message.model_config_list.config:
        _check_as_tf_serving(config)
        policy = config.model_version_policy
        versions: int | str | tuple[int, ...] = 1
        if policy.HasField("all"):
            versions = "all"
        elif policy.HasField("specific"):
            versions = tuple(policy.specific.versions)
        elif policy.HasField("latest"):
            versions = policy.latest.num_versions or 1
        models.append(
            ModelConfig(
                config.name,
                Path(config.base_path),
                versions,
                dict(config.version_labels),
            )
        )
    return models


def _check_as_tf_serving(config: Any) -> None:
    if not config.base_path.startswith("/") and "://" not in config.base_path:
        raise ValueError(
            f"Expected model {config.name} to have an absolute path or URI; got "
            f"base_path()={config.base_path}"
        )
    # The deprecated model_type says the same by a number, 1 for TensorFlow.
    platform = config.model_platform or ("tensorflow" if config.model_type == 1 else "")
    if not platform:
        raise ValueError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}: add "
            'model_platform: "tensorflow"'
        )
    if platform != "tensorflow":
        raise ValueError(
            f'The model_platform of {config.name} must be "tensorflow". '
            f"Received: {platform!r}"
        )


def read_monitoring_file(path: Path) -> str:
    """Reads TF Serving's own `--monitoring_config_file`.

    Args:
        path: Path. A MonitoringConfig in protobuf's text format.

    Returns:
        str, the path of the metrics; "" if they are not enabled.

    Raises:
        ValueError: the file is not of that format.
    """
    from serving.config.protos import MonitoringConfig

    config = parse_text_file(path, MonitoringConfig()).prometheus_config
    if config.path and not config.path.startswith("/"):
        raise ValueError(
            f"{path}: the path of the metrics starts with '/'. "
            f"Received: {config.path!r}"
        )
    return (config.path or METRICS_PATH) if config.enable else ""


def parse_text_file(path: Path, message: "Message") -> Any:
    """Reads a message from a file in protobuf's text format.

    Raises:
        ValueError: the file is not of that format.
    """
    from google.protobuf import text_format

    try:
        return text_format.Parse(path.read_text(), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        kind = message.DESCRIPTOR.name
        raise ValueError(f"{path} is no {kind} in text format: {error}") from error
