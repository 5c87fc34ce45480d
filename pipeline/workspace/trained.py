"""The models that a workspace has trained."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import layout
from pipeline.storage import mirror
from pipeline.workspace.metadata import Execution, Metadata, Run


class Trained(NamedTuple):
    """A model that lies in a workspace.

    Attributes:
        run: A run that trained it or found it in the cache.
        training: The execution of the Trainer.
        artifact: What that wrote.
    """

    run: Run
    training: Execution
    artifact: Path

    @property
    def serving(self) -> Path:
        """The SavedModel."""
        return self.artifact / layout.SERVING_MODEL


def trained(store: Metadata) -> Iterator[Trained]:
    """Yields the models that are still there, those of the newest run first.

    Trainings of a sweep, none of which is the pipeline's model, come after all others.
    One that several runs have used comes once for each of them.
    """
    for run in sorted(store.runs(), key=lambda run: "/" in run.name):
        for execution in reversed(store.used(run.name)):
            if execution.component == "Trainer" and execution.state == "complete":
                found = Trained(run, execution, store.outputs(execution.id)[0].path)
                there = mirror.url(found.artifact) or found.serving.is_dir()
                if there and mirror.present(found.artifact):
                    yield found
