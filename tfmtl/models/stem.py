"""STEM: vectors of every id for each task, beside those that all tasks share."""

import keras

from tfmtl import layers
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.structures.ple import SHARED
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.columns import of_readers, widened


@keras.saving.register_keras_serializable("tfmtl.models")
class STEM(MultiTaskModel):
    """Shared and Task-specific EMbeddings: tables that only one task's loss moves.

    Each feature has T + 1 vectors an id, one of each task and a shared one. Gates give
    a task the experts of all tasks to read, and its loss only its own and the shared
    ones to move. The vectors lie side by side in one table, so that one lookup serves
    all, and the table is T + 1 times as wide as `embedding_dim` says. Numbers without
    boundaries have no vectors, and are the same for all.

    Deviations from the paper: `interactions`, if given, are one layer that reads the
    vectors of each task in turn.

    See Also: `tfmtl.layers.STEM` for the equations.

    References:
        - [STEM](https://arxiv.org/abs/2308.13537)
    """

    architecture = "stem"
    structure = layers.STEM

    def make_embedding(self):
        """Returns an embedding with room for every task's vectors and the shared."""
        wide = widened(self.features, len(self.tasks) + 1, self.architecture)
        return FeatureEmbedding(wide, name="embedding")

    def share(self, vectors, inputs, training=None):
        """Gives each task's experts the vectors of that task."""
        names = [*(task.name for task in self.tasks), SHARED]
        seen = of_readers(self.features, vectors, len(names))
        x = {n: self.joined(own) for n, own in zip(names, seen, strict=True)}
        return self.sharing(x, training=training)
