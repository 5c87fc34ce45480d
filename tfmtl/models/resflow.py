"""ResFlow: layers and logits of a task add to those of the task before it."""

import keras
from keras import ops

from tfmtl import layers
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import check_funnel_order, pairs_in_order


@keras.saving.register_keras_serializable("tfmtl.models")
class ResFlow(MultiTaskModel):
    """Residual multi-task learner: features and logits flow along the funnel.

        logit_t = t_t(h_t) + logit_{t-1},  P_t = sigmoid(logit_t)

    The logits flow between a binary task and the one before it among those of the same
    sample space. Features flow between all tasks, as ordered. Unlike ESMM's product the
    sum lets a later task be likelier than an earlier one; every task is learnt on its
    own sample space.

    Deviations from the paper: a tower's hidden layers are the task's own, nothing flows
    between them; `Task(..., tower=())` is the paper's network. Each task's loss is a
    mean with the task's weight, in the place of weights of positive rows.

    Args:
        tasks: List of `Task`, in funnel order: click before purchase. A task given
            another must stand behind it.

    See Also: `tfmtl.layers.ResFlow` for the features.

    References:
        - [ResFlow](https://arxiv.org/abs/2411.09705)
    """

    architecture = "resflow"
    structure = layers.ResFlow

    def __init__(self, features, tasks, **options):
        check_funnel_order(tasks)
        # The base calls the model, so this comes first.
        self.before = {
            task: before
            for before, task in pairs_in_order([t for t in tasks if t.logits == 1])
        }
        super().__init__(features, tasks, **options)

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to logits, each on top of the one before."""
        logits = super().score(shared, inputs)
        for task, before in self.before.items():
            logits[task] = logits[task] + logits[before]
        return logits

    def start_at(self, means):
        """Lets the sums start near the tasks' means, see `MultiTaskModel`."""
        super().start_at(means)
        flows = {}  # {task: the sum of the biases up to it}
        for task in self.tasks:
            bias = self.towers[task.name].output_bias
            before = flows.get(self.before.get(task.name), 0.0)
            if task.name in means:
                bias.assign(bias - before)
            flows[task.name] = before + ops.convert_to_tensor(bias)
