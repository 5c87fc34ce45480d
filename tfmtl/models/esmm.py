"""ESMM: probabilities that multiply along the funnel, over the entire space."""

import keras
from keras import ops

from tfmtl.layers.sharing import SeparateBottoms
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class ESMM(MultiTaskModel):
    """Entire Space Multi-task Model: pCTCVR = pCTR pCVR, learnt on all impressions.

        P_t = sigmoid(logit_t) P_parent(t),  P of the first task = sigmoid(logit)
        L = sum_t weight_t mean over the entire space of bce(P_t, y_t and y_parent(t))

    The parent of a binary task is the task its `space` names; without one, the binary
    task before it that has none either. So more than two tasks form a chain in the
    order given, or a tree where several are "given click". A regression stands outside:
    its loss and prediction are what they are in any other model.

    What a task returns is what it declares. With `space="click"` it returns
    P(t | click), the pCVR, though it is never trained on clicked rows alone; without a
    space P(t and click), the pCTCVR. For P_t of a conditional task, multiply its
    prediction and those of its parents.

    Deviations from the paper: chains of more than two tasks, and trees. The sum is over
    means, with the tasks' weights, instead of over rows.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`, in funnel order: click before purchase.
        units: Tuple of integers. Layer widths of each task's network above the shared
            embedding. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.
        name: String. Defaults to "esmm".
        **kwargs: `epnet` and `ppnet`, see `MultiTaskModel`.

    Raises:
        ValueError: If tasks are each other's sample space.

    Example:
    >>> import tfmtl
    >>> features = [tfmtl.Categorical("item", vocabulary_size=9)]
    >>> tasks = [tfmtl.Task("click"), tfmtl.Task("buy", space="click")]
    >>> ESMM(features, tasks).parents
    {'click': None, 'buy': 'click'}

    References:
        - [ESMM](https://arxiv.org/abs/1804.07931)
    """

    def __init__(
        self,
        features,
        tasks,
        units=(256, 128),
        activation="relu",
        dropout=0.0,
        name="esmm",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = SeparateBottoms(names, units, activation, dropout, name="sharing")
        super().__init__(features, tasks, sharing, name=name, **kwargs)

    @property
    def parents(self) -> dict[str, str | None]:
        """{binary task: the task it follows}."""
        binary = {task.name: task for task in self.tasks if task.kind == "binary"}
        before, parents = None, {}
        for name, task in binary.items():
            conditional = task.space in binary
            parents[name] = task.space if conditional else before
            before = before if conditional else name
        return parents

    def _is_conditional(self, name):
        return any(t.name == name and t.space in self.parents for t in self.tasks)

    def predict_tasks(self, logits):
        """Multiplies each task's probability with those of its parents."""
        predictions = super().predict_tasks(logits)
        logs = {
            name: ops.log_sigmoid(ops.cast(logits[name], "float32"))
            for name in self.parents
        }
        for name in self.parents:
            lineage = self._lineage(name)
            if not self._is_conditional(name):
                predictions[name] = ops.exp(sum(logs[n] for n in lineage))
        return predictions

    def _lineage(self, name):
        """Returns the task, its parent, its parent's parent and so on."""
        lineage = [name]
        while (parent := self.parents[lineage[-1]]) is not None:
            if parent in lineage:
                raise ValueError(
                    "Sample spaces must lead back to a task without one. Received: "
                    f"{' -> '.join([*lineage, parent])}."
                )
            lineage.append(parent)
        return lineage

    def loss_rows(self, x, y, y_pred, sample_weight=None):
        """Takes the loss of conditional tasks over the space of their parents."""
        rows = super().loss_rows(x, y, y_pred, sample_weight)

        def over_entire_space(name):
            label, p, weight = rows[name]
            if not self._is_conditional(name):
                return label, p, weight
            before, p_before, weight_before = over_entire_space(self.parents[name])
            # Where the parent did not happen, neither did the task: a negative row.
            weight = before * weight + (1 - before) * weight_before
            return before * label, p_before * p, weight

        return {**rows, **{name: over_entire_space(name) for name in self.parents}}
