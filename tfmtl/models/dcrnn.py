"""DCRNN: recurrent crosses and partly shared networks for tasks in a funnel."""

import keras
from keras import ops

from tfmtl.layers.structures.dcrnn import DCRNN as DCRNNLayer
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import check_funnel_order


@keras.saving.register_keras_serializable("tfmtl.models")
class DCRNN(MultiTaskModel):
    """Deep cross recurrent network with partial parameter sharing.

    A reconstruction: only the abstract of the paper is public; `tfmtl.layers.DCRNN`
    says what is read into it, and why. No number of the paper can be a target.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`, in the order of the funnel: a click before the purchase.
        cross: "steps", a recurrent cross of all features, or "fields", a recurrent
            network over the features one by one. Defaults to "steps".
        steps: Integer >= 0. Steps of the recurrent cross (cross="steps" only). Defaults
            to 3.
        state_units: Integer. Width of its state; None is the input's width
            (cross="steps" only). Defaults to 64.
        cell: "gru", "lstm" or "simple". Defaults to "gru".
        rank: Integer. Rank of the cross matrix (cross="steps" only). Defaults to the
            full matrix.
        bidirectional: Boolean. Whether fields are read backwards too (cross="fields"
            only). Defaults to False.
        units: Tuple of integers. Dense layers after the cross. Defaults to (128,).
        shared_ratio: Float in [0, 1]. 1 is hard sharing, 0 separate networks. Defaults
            to 0.5.
        share_mode: "unit" or "layer": whether a part of the units of every layer is
            shared, or the first layers. Defaults to "unit".
        task_recurrence: Boolean. Whether a recurrent cell runs over the tasks. Defaults
            to True.
        product_head: Boolean. Whether a binary task's probability is multiplied with
            that of the binary task before it, as in ESMM: p_k = p_{k-1} sigma(logit_k).
            The labels must follow the funnel (a purchase is a click too), and all
            impressions are learnt from. Regression tasks stand apart. Defaults to
            False, which lets `Task(space="click")` choose the rows of a task.
        name: String. Defaults to "dcrnn".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    Raises:
        ValueError: If `product_head` is asked for and a task has a sample space, or a
            task stands before the one that it is given.

    See Also: `tfmtl.layers.DCRNN` for the equations.

    References:
        - [DCRNN](https://arxiv.org/abs/2310.11777) (abstract)
    """

    def __init__(
        self,
        features,
        tasks,
        cross="steps",
        steps=3,
        state_units=64,
        cell="gru",
        rank=None,
        bidirectional=False,
        units=(128,),
        shared_ratio=0.5,
        share_mode="unit",
        task_recurrence=True,
        product_head=False,
        name="dcrnn",
        **kwargs,
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
        self.product_head = product_head
        sharing = DCRNNLayer(
            [task.name for task in tasks],
            cross,
            steps,
            state_units,
            cell,
            rank,
            bidirectional,
            units,
            shared_ratio,
            share_mode,
            task_recurrence,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)

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
