"""The model from which a training starts, and the values that it knows."""

from pathlib import Path

from pipeline.artifacts import layout, saved_model
from pipeline.config import Config, ConfigError
from pipeline.storage import folders

SERVED = "served"


def folder(config: Config) -> Path | None:
    """Returns the folder of the SavedModel to start from, None if there is none.

    `train.warm_start` is "served", for the newest version at `push.destination`, or the
    folder of a SavedModel or of what a Trainer wrote.

    Raises:
        ConfigError: There is no such model.
    """
    source = config.train.warm_start
    if source is None:
        return None
    if source == SERVED:
        found = saved_model.served(Path(config.push.destination))
        if found is None:
            return None
    else:
        found = folders.bring(Path(source))
        if (found / layout.SERVING_MODEL).is_dir():
            found = found / layout.SERVING_MODEL
    if not (found / layout.WEIGHT_NAMES).is_file():
        raise ConfigError(
            "train.warm_start: a model to start from needs "
            f"{layout.WEIGHT_NAMES}, which the Trainer writes. Received: {found}, "
            "which has none"
        )
    return found


def vocabularies(folder: Path) -> dict[str, list[bytes]]:
    """{table: its values as they stand in the files}, from a SavedModel.

    A value with a line break stands there escaped, and then each with a backslash does.
    """
    return {
        file.stem: file.read_bytes().split(b"\n")[:-1]
        for file in (folder / "assets").glob("*.txt")
    }
