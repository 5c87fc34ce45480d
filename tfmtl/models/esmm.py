"""ESMM: probabilities that multiply along the funnel, over the entire space."""

import keras
from keras import ops

from tfmtl import _errors, layers
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import check_products


@keras.saving.register_keras_serializable("tfmtl.models")
class ESMM(MultiTaskModel):
    """Entire Space Multi-task Model: pCTCVR = pCTR pCVR, learnt on all impressions.

        P_t = sigmoid(logit_t) P_parent(t),  P of the first task = sigmoid(logit)
        L = sum_t weight_t mean over the entire space of bce(P_t, y_t and y_parent(t))

    The parent of a binary task is the task its `space` names, or the one before it in
    `chain`. So two tasks are the paper's model, more are a chain, and several tasks
    "given click" a tree. Other tasks stand outside: the loss and prediction of a
    regression, or of a task whose space is a column, are those of any other model.

    What a task returns is what it declares. With `space="click"` it returns
    P(t | click), the pCVR, though it is never trained on clicked rows alone; without a
    space P(t and click), the pCTCVR. For P_t of a conditional task, multiply its
    prediction and those of its parents.

    Deviations from the paper: chains of more than two tasks, and trees. The sum is over
    means, with the tasks' weights, instead of over rows.

    Args:
        tasks: List of `Task`, in funnel order: click before purchase.
        chain: List of strings. Tasks each of which implies the one before; others must
            be left out. Defaults to all binary tasks without a space, as ordered.

    Raises:
        ValueError: If `chain` names another kind of task, or a task twice.

    Example:
    >>> import tfmtl
    >>> features = [tfmtl.Categorical("item", vocabulary_size=9)]
    >>> tasks = [tfmtl.Task("click"), tfmtl.Task("buy", space="click")]
    >>> ESMM(features, tasks).parents
    {'click': None, 'buy': 'click'}

    References:
        - [ESMM](https://arxiv.org/abs/1804.07931)
    """

    architecture = "esmm"
    structure = layers.SeparateBottoms

    def __init__(self, features, tasks, *, chain=None, **options):
        free = [t.name for t in tasks if t.kind == "binary" and t.space is None]
        if isinstance(chain, str):
            raise ValueError(f"chain must be a list of tasks. Received: {chain!r}.")
        _errors.check_unique("Tasks of `chain`", list(chain or ()))
        for task in chain or ():
            _errors.check_choice("Each task of `chain`", task, free)
        self.chain = tuple(free if chain is None else chain)
        names = [task.name for task in tasks]
        given = [t for t in tasks if t.kind == "binary" and t.space in names]
        check_products("ESMM", [t for t in tasks if t.name in self.chain] + given)
        if soft := [task.name for task in given if task.outside]:
            raise ValueError(
                "ESMM learns a task that is given another one from every row, so that "
                f"none is outside. Received: outside of {soft}; leave it out."
            )
        super().__init__(features, tasks, **options)

    @property
    def parents(self) -> dict[str, str | None]:
        """{task of the chain, or given a task: the task it follows}."""
        names = [task.name for task in self.tasks]
        before = dict(zip(self.chain, (None, *self.chain), strict=False))
        given = {
            task.name: task.space
            for task in self.tasks
            if task.kind == "binary" and task.space in names
        }
        parents = {**before, **given}
        return {n: parents.get(n) for n in names if n in parents or n in given.values()}

    def _is_conditional(self, name):
        return self.parents[name] is not None and name not in self.chain

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

    def start_at(self, means):
        """Lets the products start near the tasks' means, see `MultiTaskModel`."""
        shares = dict(means)
        for name, parent in self.parents.items():
            if name in self.chain and name in means and parent in means:
                # A label that is no step of a funnel may be more frequent.
                shares[name] = min(means[name] / means[parent], 0.99)
        super().start_at(shares)

    def _lineage(self, name):
        """Returns the task, its parent, its parent's parent and so on."""
        lineage = [name]
        while (parent := self.parents[lineage[-1]]) is not None:
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
