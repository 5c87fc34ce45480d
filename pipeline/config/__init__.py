"""One YAML file describes a pipeline: `load` reads and checks it."""

from pipeline.config.load import load
from pipeline.config.schema import Config
from pipeline.config.sections import Infra, Task
from pipeline.errors import ConfigError, nearest

__all__ = ["Config", "ConfigError", "Infra", "Task", "load", "nearest"]
