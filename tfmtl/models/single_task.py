"""Single task: the baseline that shares nothing."""

import dataclasses

import keras
from keras import ops

from tfmtl.features import Numeric
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.interactions.interaction_bottom import InteractionBottom
from tfmtl.layers.structures.shared_bottom import SeparateBottoms
from tfmtl.models.base import MultiTaskModel


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
        for feature in self.features:
            if getattr(feature, "target", None):
                raise ValueError(
                    "single_task shares nothing, and so no attention. Received: "
                    f"pooling='target_attention' of {feature.name!r}; use 'mean' or "
                    "'sum', or one model a task."
                )
        wide = [
            dataclasses.replace(f, embedding_dim=f.embedding_dim * len(self.tasks))
            if getattr(f, "embedding_dim", None)
            else f
            for f in self.features
        ]
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
        tasks = len(self.tasks)
        parts = [
            [vectors[f.name]] * tasks
            if isinstance(f, Numeric) and not f.boundaries
            else ops.split(vectors[f.name], tasks, axis=-1)
            for f in self.features
        ]  # [features][tasks] of (B, dim)
        inputs = {}
        for task, own in zip(self.tasks, zip(*parts, strict=True), strict=True):
            if self.bottom:
                mine = dict(zip(vectors, own, strict=True))  # {feature: (B, dim)}
                inputs[task.name] = self.bottom[task.name](mine)
            else:
                inputs[task.name] = ops.concatenate(own, axis=-1)
        return self.sharing(inputs, training=training)
