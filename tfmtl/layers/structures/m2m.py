"""M2M: weights that are made of what is known of the scenario."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import gated_experts, hidden_units


class MetaUnit(Layer):
    """A dense layer whose weights are made of each row's knowledge s: h W(s) + b(s).

        W(s) = reshape(V_w s + v_w),  b(s) = V_b s + v_b

    Args:
        units: Integer. Width of the output.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, inputs_shape, knowledge_shape):
        """Creates V_w, v_w, V_b and v_b."""
        self.width = inputs_shape[-1]

        def dense(units, name, draw):
            layer = keras.layers.Dense(
                units, bias_initializer=draw, dtype=self.dtype_policy, name=name
            )
            layer.build(knowledge_shape)
            return layer

        def draw(shape, dtype=None):  # v_w starts as the kernel of a dense layer
            start = keras.initializers.GlorotUniform()((self.width, self.units), dtype)
            return ops.reshape(start, shape)

        self.kernel = dense(self.width * self.units, "kernel", draw)
        self.bias = dense(self.units, "bias", "zeros")

    def call(self, inputs, knowledge):
        """Maps (batch, n, width) and (batch, knowledge) to (batch, n, units)."""
        kernel = ops.reshape(self.kernel(knowledge), (-1, self.width, self.units))
        return ops.matmul(inputs, kernel) + ops.expand_dims(self.bias(knowledge), 1)


@keras.saving.register_keras_serializable("tfmtl")
class M2M(Layer):
    """Multi-scenario, multi-task Meta learning: attention and towers by scenario.

        s = f(V c),  c the condition
        a_i^k = v_k^T f(Meta_a([E_i(x), T_k]; s)),  alpha^k = softmax(a^k)
        R^k = sum_i alpha_i^k E_i(x)
        L_0 = R^k,  L_j = f(Meta_j(L_{j-1}; s) + L_{j-1})

    Meta(.; s) is a dense layer whose weights are linear in s, f the activation, T_k a
    vector that is task k's own. So a scenario needs no weights of its own, and a new
    one is served by what is known of it.

    Reconstruction: the paper's text was not at hand, its abstract and public code were;
    depths, widths and that the tasks share the meta units are ours. Deviations: experts
    read the joined features, there a transformer's output; T_k is the vector itself,
    there a dense layer of an embedding; a generated kernel starts near one that is the
    same for all scenarios.

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer. Defaults to 4.
        expert_units: Tuple of integers. Layer widths of an expert. Defaults to
            (128, 32); a row's generated weights grow with the square of the last.
        knowledge_units: Integer. Width of s. Defaults to 16.
        depth: Integer. Meta layers of the tower. Defaults to 1.
        activation: String or callable. Defaults to "leaky_relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        condition: Tensor of shape (batch, any), what is known of the scenario: the
            embedding of the domain and of the user. Defaults to `inputs`.

    Output: dict {task: (batch, expert_units[-1])}.

    Example:
    >>> ops = keras.ops
    >>> out = M2M(["click", "like"])(ops.ones((4, 5)), ops.ones((4, 3)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 32), 'like': (4, 32)}

    References:
        - [M2M](https://arxiv.org/abs/2201.06814)
    """

    def __init__(
        self,
        tasks,
        experts=4,
        expert_units=(128, 32),
        knowledge_units=16,
        depth=1,
        activation="leaky_relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_positive("knowledge_units", knowledge_units)
        _errors.check_positive("depth", depth)
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        self.experts = Experts(
            experts, expert_units, self.activation, dtype=policy, name="experts"
        )
        self.units = self.experts.units[-1]
        self.knowledge = keras.layers.Dense(
            knowledge_units, self.activation, dtype=policy, name="knowledge"
        )
        self.attention = MetaUnit(2 * self.units, dtype=policy, name="meta_attention")
        self.layers = [
            MetaUnit(self.units, dtype=policy, name=f"meta_tower_{i}")
            for i in range(depth)
        ]

    def build(self, inputs_shape, condition_shape=None):
        """Builds experts and meta units; creates T and v of all tasks."""
        _errors.check_rank(self, inputs_shape, 2)
        self.experts.build(inputs_shape)
        condition_shape = condition_shape or inputs_shape
        self.knowledge.build(condition_shape)
        knowledge = self.knowledge.compute_output_shape(condition_shape)
        self.attention.build((None, None, 2 * self.units), knowledge)
        for layer in self.layers:
            layer.build((None, None, self.units), knowledge)

        def vectors(name, width):
            return self.add_weight(
                name=name,
                shape=(len(self.tasks), width),
                initializer="glorot_uniform",
            )

        self.task_vectors = vectors("task_vectors", self.units)
        self.scores = vectors("scores", 2 * self.units)

    def call(self, inputs, condition=None):
        """Maps (batch, width) and (batch, any) to {task: (batch, units)}."""
        knowledge = self.knowledge(inputs if condition is None else condition)
        experts = self.experts(inputs)  # (B, E, U)
        each = ops.zeros_like(experts)
        pairs = [
            ops.concatenate([experts, each + self.task_vectors[i]], axis=-1)
            for i in range(len(self.tasks))
        ]  # [tasks] of (B, E, 2 U)
        # One product for all tasks: the generated kernel is what takes the time.
        meta = self.activation(self.attention(ops.concatenate(pairs, 1), knowledge))
        mixes = []
        for i, task in enumerate(self.tasks):
            first = i * self.experts.experts
            own = meta[:, first : first + self.experts.experts]  # (B, E, 2 U)
            scores = ops.squeeze(ops.matmul(own, self.scores[i][:, None]), -1)  # (B, E)
            weights = ops.softmax(scores)
            note_gate(f"{self.path}/{task}_attention", weights, self.experts.labels)
            gated_experts.note(f"{self.path}/{task}_attention", experts)
            mixes.append(ops.matmul(ops.expand_dims(weights, 1), experts))  # (B, 1, U)
        x = ops.concatenate(mixes, axis=1)  # (B, T, U)
        for layer in self.layers:
            x = self.activation(layer(x, knowledge) + x)
            hidden_units.note(layer.path, (x, 0))
        return {task: x[:, i] for i, task in enumerate(self.tasks)}

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        """Returns {task: (batch, expert_units[-1])}."""
        return dict.fromkeys(self.tasks, (inputs_shape[0], self.units))
