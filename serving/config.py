"""What to serve: names, base paths, which versions, labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


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


def read_config_file(path: Path) -> list[ModelConfig]:
    """Reads TF Serving's own `--model_config_file`.

    Args:
        path: Path. A ModelServerConfig in protobuf's text format.

    Returns:
        list of ModelConfig, one for each `config` of the list.

    Raises:
        ValueError: the file is not of that format.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    try:
        parsed = text_format.Parse(path.read_text(), ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(
            f"{path} is no model_config_list in text format: {error}"
        ) from error
    models = []
    for config in parsed.model_config_list.config:
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
    if not models:
        raise ValueError(f"{path} names no model: model_config_list is empty")
    return models
