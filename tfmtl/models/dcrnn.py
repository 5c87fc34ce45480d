"""DCRNN: recurrent crosses and partly shared networks for tasks in a funnel."""

import keras
from keras import ops

from tfmtl import layers
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import check_funnel_order, check_products


@keras.saving.register_keras_serializable("tfmtl.models")
class DCRNN(MultiTaskModel):
    """Deep cross recurrent network with partial parameter sharing.

    A reconstruction: only the abstract of the paper is public; `tfmtl.layers.DCRNN`
    says what is read into it, and why. No number of the paper can be a target.

    Args:
        tasks: List of `Task`, in the order of the funnel: a click before the purchase.
        product_head: Boolean. Whether a binary task's probability is multiplied with
            that of the binary task before it, as in ESMM: p_k = p_{k-1} sigma(logit_k).
            The labels must follow the funnel (a purchase is a click too), and all
            impressions are learnt from. Regression tasks stand apart. Defaults to
            False, which lets `Task(space="click")` choose the rows of a task.

    Raises:
        ValueError: If `product_head` is asked for and a task has a sample space, or a
            task stands before the one that it is given.

    See Also: `tfmtl.layers.DCRNN` for the equations.

    References:
        - [DCRNN](https://arxiv.org/abs/2310.11777) (abstract)
    """

    architecture = "dcrnn"
    structure = layers.DCRNN

    def __init__(
        self, features, tasks, *, task_recurrence=True, product_head=False, **options
    ):
        if task_recurrence:
            check_funnel_order(tasks)
        for task in tasks if product_head else []:
            if task.kind == "binary" and task.space is not None:
                raise ValueError(
                    "A product head learns from all impressions, so that binary tasks "
                    f"must have no space. Received: task {task.name!r} with space "
                    f"{task.space!r}; leave it out, or set product_head=False."
                )
        if product_head:
            check_products("A product head", [t for t in tasks if t.kind == "binary"])
        self.product_head = product_head
        super().__init__(features, tasks, task_recurrence=task_recurrence, **options)

    def predict_tasks(self, logits):
        """Maps logits to predictions, binary ones to products if asked for."""
        predictions = super().predict_tasks(logits)
        if self.product_head:
            reached = 1.0
            for task in self.tasks:
                if task.kind == "binary":
                    reached = reached * predictions[task.name]
                    predictions[task.name] = reached
        return predictions

    def start_at(self, means):
        """Lets an untrained model start near the tasks' means, see the base.

        Under a product head a bias stands for the rate among the rows that the task
        before has reached, so that task's mean must be known: give both, or it first.
        """
        reached = 1.0
        for task in self.tasks:
            mean = means.get(task.name)
            chained = self.product_head and task.kind == "binary"
            if mean is not None:
                # More than all that reached it is impossible; labels may say so.
                mean = min(mean / reached, 0.99) if chained else mean
                super().start_at({task.name: mean})
            if chained:
                bias = self.towers[task.name].output_bias
                reached *= float(ops.mean(ops.sigmoid(bias)))
