"""Bayesian dependencies: each task's network reads those of the tasks before it."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.structures.shared_bottom import SeparateBottoms


@keras.saving.register_keras_serializable("tfmtl")
class DBMTL(Layer):
    """Deep Bayesian Multi-Target Learning: P(l, m | x) = P(l | x) P(m | l, x).

        s = f(x),  q_t = f_t(s),  z_t = r_t([q_t, z_p for the parents p of t])

    f is shared, f_t a task's own, and r_t, the Bayesian layer, reads beside the task's
    own vector those of the tasks it depends on. By default these are all tasks before
    it, as the chain rule has it; a sparser network assumes that the task, given its
    parents and x, does not depend on the others.

    Args:
        tasks: List of strings. Names of the tasks, causes before effects.
        parents: Dict {task: list of tasks that stand before it}, the Bayesian network;
            a task left out depends on none. Defaults to all tasks before each.
        shared_units: Tuple of integers. Layer widths of f; empty for none. Defaults to
            (256,).
        units: Tuple of integers. Layer widths of each f_t. Defaults to (128,).
        relation_units: Tuple of integers. Layer widths of each r_t. Defaults to (64,).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output: dict {task: (batch, relation_units[-1])}.

    Example:
    >>> layer = DBMTL(["click", "buy"], relation_units=(8,))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'buy': (4, 8)}

    References:
        - [DBMTL](https://arxiv.org/abs/1902.09154)
    """

    def __init__(
        self,
        tasks,
        parents=None,
        shared_units=(256,),
        units=(128,),
        relation_units=(64,),
        activation="relu",
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.parents = _check_parents(parents, self.tasks)
        relation_units = _errors.check_units("relation_units", relation_units)
        if not relation_units:
            raise ValueError("A relation needs at least one layer. Received: ().")
        options = {"activation": activation, "dropout": dropout}
        options["dtype"] = self.dtype_policy
        self.bottom = DNN(shared_units, **options, name="bottom")
        self.bottoms = SeparateBottoms(self.tasks, units, **options, name="bottoms")
        self.relations = {
            task: DNN(relation_units, **options, name=f"{task}_relation")
            for task in self.tasks
        }

    def build(self, input_shape):
        """Builds the networks."""
        self.bottom.build(input_shape)
        shape = self.bottom.compute_output_shape(input_shape)
        self.bottoms.build(shape)
        widths = {}
        for task, own in self.bottoms.compute_output_shape(shape).items():
            width = own[-1] + sum(widths[parent] for parent in self.parents[task])
            relation = self.relations[task]
            relation.build((own[0], width))
            widths[task] = relation.compute_output_shape((own[0], width))[-1]

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, relation_units[-1])}."""
        shared = self.bottom(inputs, training=training)
        outputs = {}
        for task, own in self.bottoms(shared, training=training).items():
            x = [own, *(outputs[parent] for parent in self.parents[task])]
            x = ops.concatenate(x, axis=-1)
            outputs[task] = self.relations[task](x, training=training)
        return outputs

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, relation_units[-1])}."""
        units = self.relations[self.tasks[0]].units[-1]
        return dict.fromkeys(self.tasks, (input_shape[0], units))


def _check_parents(parents, tasks):
    """Returns {task: its parents} of all tasks; raises if one does not stand before."""
    if parents is None:
        return {task: tasks[:i] for i, task in enumerate(tasks)}
    lists = isinstance(parents, dict) and not any(
        isinstance(before, str) for before in parents.values()
    )
    if not lists:
        raise ValueError(
            "parents must be a dict {task: list of tasks before it}. Received: "
            f"{parents!r}."
        )
    for task, before in parents.items():
        _errors.check_choice("Each key of parents", task, tasks)
        _errors.check_unique(f"parents of {task!r}", list(before))
        for parent in before:
            if parent not in tasks[: tasks.index(task)]:
                raise ValueError(
                    f"The parents of task {task!r} must stand before it, in "
                    f"{tasks[: tasks.index(task)]}. Received: {parent!r}."
                )
    return {task: list(parents.get(task, ())) for task in tasks}
