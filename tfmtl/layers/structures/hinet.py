"""HiNet: what the domains know of a row first, then what the tasks make of it."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.domains import of_own_domain, one_hot_domains
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import gated_experts
from tfmtl.layers.structures.ple import CGC


class SubExpertIntegration(Layer):
    """Groups of experts, each mixed by a gate: Q_i(x) = sum_j softmax(W_i x)_j E_ij(x).

    Args:
        groups: List of strings. Names of the groups in a gate report.
        experts: Integer. Number of sub-experts of each.
        units: Tuple of integers. Layer widths of a sub-expert.
        activation: String or callable of the sub-experts.
    """

    def __init__(self, groups, experts, units, activation, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups
        self.experts = experts
        self.bank = Experts(
            len(groups) * experts,
            units,
            activation,
            dtype=self.dtype_policy,
            name="experts",
        )

    def build(self, input_shape):
        """Builds the experts; creates W of all groups."""
        self.bank.build(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], len(self.groups) * self.experts),
            initializer="glorot_uniform",
        )

    def call(self, inputs):
        """Maps (batch, width) to (batch, groups, units)."""
        shape = (-1, len(self.groups), self.experts)
        weights = ops.softmax(ops.reshape(ops.matmul(inputs, self.kernel), shape))
        experts = self.bank(inputs)  # (B, G m, U)
        experts = ops.reshape(experts, (*shape, experts.shape[-1]))  # (B, G, m, U)
        for i, group in enumerate(self.groups):
            labels = [f"{group}_{j}" for j in range(self.experts)]
            note_gate(f"{self.path}/{group}", weights[:, i], labels)
            gated_experts.note(f"{self.path}/{group}", experts[:, i])
        return ops.squeeze(ops.matmul(ops.expand_dims(weights, 2), experts), 2)

    def compute_output_shape(self, input_shape):
        """Returns (batch, groups, units[-1])."""
        return (input_shape[0], len(self.groups), self.bank.units[-1])


@keras.saving.register_keras_serializable("tfmtl")
class HiNet(Layer):
    """Hierarchical information extraction Network: first by domain, then by task.

        Q(x) = sum_j softmax(W x)_j E_j(x)      sub-experts, integrated
        G = Q_shared(x),  S = Q_d(x)
        A = sum_(i != d) softmax(a_d)_i Q_i(x)  scenario-aware attention
        y^k = CGC_k([A, S, G])

    d is the row's domain, a_d a number for each domain. The rows of a domain reach the
    sub-experts of the others through A.

    Deviations from the paper, by the authors' code: a_d is a network of the domain's
    embedding there, and is learnt as it is here, a table of all pairs. Gates have
    neither biases nor a relu before the softmax. There is no batch normalisation of the
    input and no dropout.

    Args:
        tasks: List of strings. Names of the tasks.
        domains: Integer. Number of domains; ids are in [0, domains). Defaults to 1,
            which has no A.
        subexperts: Integer. Sub-experts of each domain, and shared ones. Defaults to 2.
        subexpert_units: Tuple of integers. Layer widths of a sub-expert. Defaults to
            (128, 64).
        shared_experts: Integer, or list of interactions. Shared experts of the tasks,
            see `CGC`. Defaults to 1.
        task_experts: The same for each task, or dict {task: the same}. Defaults to 1.
        expert_units: Tuple of integers. Layer widths of the tasks' experts. Defaults to
            (128, 64).
        activation: String or callable of all experts. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output: dict {task: (batch, expert_units[-1])}.

    Example:
    >>> ops = keras.ops
    >>> layer = HiNet(["click", "like"], domains=3, expert_units=(8,))
    >>> out = layer(ops.ones((4, 5)), ops.array([0, 2, 1, 2]))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [HiNet](https://arxiv.org/abs/2303.06095)
    """

    def __init__(
        self,
        tasks,
        domains=1,
        subexperts=2,
        subexpert_units=(128, 64),
        shared_experts=1,
        task_experts=1,
        expert_units=(128, 64),
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        _errors.check_positive("domains", domains)
        _errors.check_positive("subexperts", subexperts)
        self.domains = domains
        self.labels = [f"domain_{i}" for i in range(domains)]

        def integration(groups, name):
            return SubExpertIntegration(
                groups,
                subexperts,
                subexpert_units,
                activation,
                dtype=self.dtype_policy,
                name=name,
            )

        self.shared = integration(["shared"], "shared")
        self.own = integration(self.labels, "own")
        self.extraction = CGC(
            tasks,
            shared_experts,
            task_experts,
            expert_units,
            activation=activation,
            dtype=self.dtype_policy,
            name="extraction",
        )
        self.tasks = self.extraction.tasks

    def build(self, inputs_shape, domain_shape=None):
        """Builds both levels; creates a, the attention between the domains."""
        _errors.check_rank(self, inputs_shape, 2)
        self.shared.build(inputs_shape)
        self.own.build(inputs_shape)
        width = self.own.compute_output_shape(inputs_shape)[-1]
        parts = 2
        if self.domains > 1:
            parts = 3
            self.attention = self.add_weight(
                name="attention",
                shape=(self.domains, self.domains),
                initializer="zeros",
            )
        self.extraction.build((inputs_shape[0], parts * width))

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to {task: (batch, units)}."""
        chosen = one_hot_domains(domain, self.domains, self.compute_dtype)  # (B, D)
        experts = self.own(inputs)  # (B, D, U)
        parts = [of_own_domain(experts, chosen), self.shared(inputs)[:, 0]]
        if self.domains > 1:
            weights = ops.matmul(chosen, ops.softmax(self.attention))
            weights = weights * (1 - chosen)  # the own domain is a part of its own
            note_gate(f"{self.path}/attention", weights, self.labels)
            parts.insert(0, of_own_domain(experts, weights))
        return self.extraction(ops.concatenate(parts, axis=-1))

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns {task: (batch, expert_units[-1])}."""
        return self.extraction.compute_output_shape(inputs_shape)
