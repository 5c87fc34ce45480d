"""SAR-Net: experts of the domain and of all, above a scale and shift by domain."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.domains import of_own_domain, one_hot_domains
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.gates import SoftmaxGate
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class SARNet(Layer):
    """Scenario-Aware Ranking Network, from its scenario-specific transform on.

        x' = gamma_d * x + beta_d
        S(x') = [E_(s,1), ..., E_(s,m_s), E_(d,1), ..., E_(d,m_d)]
        g^k = softmax(W^k x') S(x')

    d is the row's domain: a row is scaled and shifted by what is d's own, and read by
    the shared experts and those of d.

    Reconstruction: the paper's text was not at hand, its abstract and public code were.
    Deviations: the attention to a user's actions in all scenarios is left to the
    features, `Sequence(pooling="target_attention")`; the fairness coefficient, which
    weighs a row that was shown by manual intervention, is a task's `row_weight`; no
    batch normalisation in the experts. The paper has one task; here each has a gate.

    Args:
        tasks: List of strings. Names of the tasks.
        domains: Integer. Number of domains; ids are in [0, domains). Defaults to 1.
        shared_experts: Integer, m_s. Defaults to 2.
        domain_experts: Integer, m_d, of each domain. Defaults to 1.
        expert_units: Tuple of integers. Layer widths of an expert. Defaults to
            (256, 128).
        activation: String or callable of the experts. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output: dict {task: (batch, expert_units[-1])}.

    Example:
    >>> ops = keras.ops
    >>> layer = SARNet(["click", "like"], domains=3, expert_units=(8,))
    >>> out = layer(ops.ones((4, 5)), ops.array([0, 2, 1, 2]))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [SAR-Net](https://arxiv.org/abs/2110.06475)
    """

    def __init__(
        self,
        tasks,
        domains=1,
        shared_experts=2,
        domain_experts=1,
        expert_units=(256, 128),
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_positive("domains", domains)
        _errors.check_positive("domain_experts", domain_experts)
        self.domains = domains
        self.domain_experts = domain_experts

        def bank(experts, name):
            return Experts(
                experts, expert_units, activation, dtype=self.dtype_policy, name=name
            )

        self.shared = bank(shared_experts, "shared_experts")
        self.own = bank(domains * domain_experts, "domain_experts")
        labels = [f"shared_{i}" for i in range(shared_experts)]
        labels += [f"domain_{i}" for i in range(domain_experts)]
        self.gates = {
            task: SoftmaxGate(
                len(labels), labels, dtype=self.dtype_policy, name=f"{task}_gate"
            )
            for task in self.tasks
        }

    def build(self, inputs_shape, domain_shape=None):
        """Creates gamma and beta of all domains, builds experts and gates."""
        _errors.check_rank(self, inputs_shape, 2)
        shape = (self.domains, inputs_shape[-1])
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        for part in (self.shared, self.own, *self.gates.values()):
            part.build(inputs_shape)

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to {task: (batch, units)}."""
        chosen = one_hot_domains(domain, self.domains, self.compute_dtype)  # (B, D)
        x = ops.matmul(chosen, self.gamma) * inputs + ops.matmul(chosen, self.beta)
        own = self.own(x)  # (B, D m, U)
        own = ops.reshape(own, (-1, self.domains, self.domain_experts, own.shape[-1]))
        experts = [self.shared(x), of_own_domain(own, chosen)]  # (B, m, U) each
        return {task: gate(x, experts) for task, gate in self.gates.items()}

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns {task: (batch, expert_units[-1])}."""
        return dict.fromkeys(self.tasks, (inputs_shape[0], self.own.units[-1]))
