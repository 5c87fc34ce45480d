"""Single task: the baseline that shares nothing."""

import keras
from keras import ops

from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.interactions.interaction_bottom import InteractionBottom
from tfmtl.layers.structures.shared_bottom import SeparateBottoms
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.columns import of_readers, widened


@keras.saving.register_keras_serializable("tfmtl.models")
class SingleTask(MultiTaskModel):
    """One model a task, trained side by side: own tables, own network, own tower.

    y_k = t_k(f_k(e_k(x))): what each task learns is what a model of that task alone
    would learn. It is the baseline of every gain from multi-task learning.

    The rows of all tasks for an id lie side by side in one table, so that one lookup
    serves all; a task reads, and its loss moves, only its own columns. An optimizer
    that keeps one number a row of a table (`RowwiseAdagrad`) couples the tasks there.

    See Also: `tfmtl.layers.SeparateBottoms`.
    """

    architecture = "single_task"
    structure = SeparateBottoms

    def make_embedding(self):
        """Returns an embedding with room for every task's rows."""
        wide = widened(self.features, len(self.tasks), self.architecture)
        return FeatureEmbedding(wide, name="embedding")

    def make_bottom(self, interactions):
        """Returns {task: interactions of its own}, or None."""
        if interactions is None:
            return None
        return {
            task.name: InteractionBottom(interactions, name=f"{task.name}_interactions")
            for task in self.tasks
        }

    def share(self, vectors, inputs, training=None):
        """Gives each task's network the columns of that task."""
        x = {}
        seen = of_readers(self.features, vectors, len(self.tasks))
        for task, own in zip(self.tasks, seen, strict=True):
            if self.bottom:
                x[task.name] = self.bottom[task.name](own)
            else:
                x[task.name] = ops.concatenate(list(own.values()), axis=-1)
        return self.sharing(x, training=training)
