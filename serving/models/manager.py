"""The models of a server: loaded, kept fresh, replaced by those of a new config."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from serving.config.server import ModelConfig, read_config_file
from serving.errors import Code, ServingError, invalid, not_served
from serving.models.model import Model, return_memory
from serving.models.servable import Servable
from serving.models.version_folders import versions

_log = logging.getLogger("serving")


class StartError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


class ServedModels(Mapping[str, Model]):
    """Models by name. Reading never waits; what changes them goes one at a time.

    Args:
        configs: sequence of ModelConfig. What to serve.
        make_model: function. Makes the Model of a config, not loaded yet.
        allow_unavailable_labels: bool. Whether a label that is not in use yet may be
            given to a version that is not available. Defaults to False, and then no
            label can be given at the start, as nothing is available before.

    Raises:
        StartError: a model has no version that loads, or has a label that it may not
            have.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        make_model: Callable[[ModelConfig], Model],
        allow_unavailable_labels: bool = False,
    ):
        self._make_model = make_model
        self._allow_unavailable_labels = allow_unavailable_labels
        self._changing = threading.Lock()
        self._models: dict[str, Model] = {}  # replaced, never changed
        loaded = {}
        try:
            self._check_labels(configs)
        except ServingError as error:
            raise StartError(
                f"{error.message}; at the start, no version is. To allow it: "
                "--allow-version-labels-for-unavailable-models"
            ) from error
        try:
            for config in configs:
                loaded[config.name] = self._load(config)
        except BaseException:
            _close(loaded)
            raise
        self._models = loaded

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def acquire(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> AbstractContextManager[tuple[int, Servable]]:
        """Holds a version of a model for the length of one request.

        Args:
            name: str. Which model.
            version: int. Which version; None is the newest available.
            label: str. Its label, instead of `version`.

        Returns:
            Context manager of version number and servable.

        Raises:
            ServingError: there is no such model, version or label.
        """
        model = self._models.get(name)
        if model is None:
            raise not_served(name, version, label)
        return model.acquire(version, label)

    def states(
        self, name: str, version: int | None = None
    ) -> list[tuple[int, str, ServingError | None]]:
        """Lists number, state and load error of a model's versions.

        Args:
            name: str. Which model.
            version: int. Which version; None lists every one seen, newest first.

        Raises:
            ServingError: there is no such model or version.
        """
        model = self._models.get(name)
        states = model.states() if model is not None else []
        if version is not None:
            states = [state for state in states if state[0] == version]
        if not states:
            missing = "any versions" if version is None else f"version {version}"
            raise ServingError(
                Code.NOT_FOUND, f"Could not find {missing} of model {name}"
            )
        return states

    def waiting(self) -> list[str]:
        """Lists the models of which no version is available."""
        models = self._models.items()
        return sorted(name for name, model in models if not model.available())

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models from now on, and no others.

        The rules are TF Serving's: a label goes only to a version that is available
        now, before anything of the new config is loaded, or else all of it is refused;
        `allow_unavailable_labels` helps only a label that is not in use yet. Labels
        move first, then versions are loaded, and those that are not listed any more
        are unloaded. Models that stay answer all the time.

        Args:
            configs: sequence of ModelConfig. What to serve.

        Raises:
            ServingError: a label is given to a version that is not available, or a
                new model has no version that loads. Then nothing has changed.
        """
        with self._changing:
            before = self._models
            kept = {
                config.name: before[config.name]
                for config in configs
                if config.name in before
                and before[config.name].config.base_path == config.base_path
            }
            added: dict[str, Model] = {}
            try:
                check_names(configs)
                self._check_labels(configs)
                new = [config for config in configs if config.name not in kept]
                check_base_paths(new)
                for config in new:
                    added[config.name] = self._load(config)
            except StartError as error:
                _close(added)
                raise invalid(str(error)) from error
            for config in configs:
                if config.name in kept:
                    kept[config.name].config = config  # its labels move with it
            for model in kept.values():
                model.poll()
            gone = {name: model for name, model in before.items() if name not in kept}
            self._models = kept | added
            _close(gone)
            if gone:
                return_memory()
        if added or gone:
            _log.info("serving %s", ", ".join(sorted(self._models)) or "nothing")

    def _check_labels(self, configs: Sequence[ModelConfig]) -> None:
        for config in configs:
            model = self._models.get(config.name)
            available = model.available() if model else ()
            in_use = model.config.labels if model else {}
            for label, version in config.labels.items():
                is_new = in_use.get(label, version) == version
                if version in available or (self._allow_unavailable_labels and is_new):
                    continue
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model "
                    f"{config.name}, which is not currently available for inference",
                )

    def poll(self, seconds: float, stopping: threading.Event) -> None:
        """Looks for new versions from time to time, until `stopping`; 0 is never."""
        while seconds > 0 and not stopping.wait(seconds):
            with self._changing:
                for model in self._models.values():
                    try:
                        model.poll()
                    except Exception:  # the next poll may find things in order
                        _log.exception("%s: polling failed", model.config.name)

    def follow(self, file: Path, seconds: float, stopping: threading.Event) -> None:
        """Reloads a config file from time to time, until `stopping`.

        As in TF Serving, what is refused is tried again every time.
        """
        while not stopping.wait(seconds):
            try:
                self.reload(read_config_file(file))
            except (ValueError, OSError, ServingError) as error:
                _log.error("%s is not followed: %s", file, error)

    def close(self) -> None:
        """Unloads every version, each after its last request."""
        with self._changing:
            _close(self._models)

    def _load(self, config: ModelConfig) -> Model:
        model = self._make_model(config)
        model.poll()
        if not model.available():
            reasons = "; ".join(
                f"version {number}: {error.message}"
                for number, _, error in model.states()
                if error
            )
            raise StartError(
                f"No version of model {config.name!r} can be served. "
                + (reasons or f"Wanted {config.versions}, none is there")
            )
        return model


def _close(models: Mapping[str, Model]) -> None:
    for model in models.values():
        model.close()


def check_names(configs: Sequence[ModelConfig]) -> None:
    """Raises a StartError if two models have one name."""
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise StartError(
                f"Illegal to list model {name} multiple times in config list"
            )


def check_base_paths(configs: Sequence[ModelConfig]) -> None:
    """Raises a StartError if a base path holds no version."""
    for config in configs:
        path = config.base_path
        if not path.is_dir():
            raise StartError(f"The model base path is no directory: {path}")
        if (path / "saved_model.pb").exists():
            raise StartError(
                f"{path} is a SavedModel itself; the base path is the directory above "
                "it, whose children are named by version: 1, 2 ..."
            )
        if not versions(path):
            raise StartError(
                "The model base path holds no version, a directory named 1, 2 ...: "
                f"{path}"
            )
