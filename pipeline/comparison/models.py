"""Models as a command is told of them: by workspace, by run or by folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import layout, saved_model
from pipeline.errors import PipelineError, nearest
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata
from pipeline.workspace.trained import trained


class Model(NamedTuple):
    """A model to compare.

    Attributes:
        name: What it is called in tables.
        path: The SavedModel.
        seconds: How long it was trained; None where that is not known.
    """

    name: str
    path: Path
    seconds: float | None


def find(texts: Sequence[str]) -> list[Model]:
    """Finds models.

    Args:
        texts: Each a workspace, for the model of its newest run that has one;
            WORKSPACE@RUN, as `runs` lists them; or a SavedModel, a Trainer's artifact,
            or a folder of versions, for the newest.

    Raises:
        PipelineError: There is no such model, or one is given twice.
    """
    found = [_find(text) for text in texts]
    names = [model.name for model in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PipelineError(f"each model is compared once. Given twice: {twice}")
    return found


def _find(text: str) -> Model:
    workspace, at, run = text.rpartition("@")
    if not at or not workspaces.has_run(mirror.place(workspace)):
        workspace, run = text, ""
    if workspaces.has_run(mirror.place(workspace)):
        return _of_run(workspace, run)
    try:
        return Model(text, saved_model.find(mirror.place(text)), None)
    except PipelineError as error:
        raise PipelineError(
            f"a workspace, WORKSPACE@RUN or a model's folder is expected: {error}"
        ) from error


def _of_run(workspace: str, wanted: str) -> Model:
    store = Metadata(mirror.place(workspace) / layout.METADATA)
    runs = [run.name for run in store.runs()]
    if wanted and wanted not in runs:
        raise PipelineError(
            f"{workspace} has no run {wanted!r}.{nearest(wanted, runs)} "
            "`python -m pipeline runs` lists them"
        )
    for model in trained(store):
        if wanted in ("", model.run.name):
            name = f"{workspace}@{model.run.name}"
            mirror.pull(model.artifact)
            return Model(name, model.serving, model.training.seconds)
    where = f"run {wanted} of {workspace}" if wanted else workspace
    raise PipelineError(f"{where} has no model: none was trained, or it is deleted")
