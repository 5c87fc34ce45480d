"""M3oE: experts of all, of the domains and of the tasks, fused on two levels."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.domains import of_own_domain, one_hot_domains
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import gated_experts, hidden_units
from tfmtl.layers.structures.star import StarDense


class LayerNormalisedExperts(Layer):
    """Experts of one layer each: activation(layer_norm(x W_i + b_i)).

    Args:
        experts: Integer. Number of experts.
        units: Integer. Width of each.
        activation: String or callable.
    """

    def __init__(self, experts, units, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        self.dense = Experts(experts, (units,), "linear", dtype=policy, name="dense")
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, center=False, scale=False, dtype=policy, name="norm"
        )

    def build(self, input_shape):
        """Builds the layer; creates a scale and shift for each expert."""
        self.dense.build(input_shape)
        shape = self.dense.compute_output_shape(input_shape)
        self.norm.build(shape)
        self.gamma = self.add_weight(name="gamma", shape=shape[1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape[1:], initializer="zeros")

    def call(self, inputs):
        """Maps (batch, width) to (batch, experts, units)."""
        x = self.norm(self.dense(inputs))
        x = self.activation(self.gamma * x + self.beta)
        # In place of what the dense layer has noted, which is not the experts' output.
        hidden_units.note(f"{self.dense.path}/layer_0", (x, 0))
        return x


@keras.saving.register_keras_serializable("tfmtl")
class M3oE(Layer):
    """Multi-domain, multi-task Mixture-of-Experts.

        r = f_2(x (W * W_d) + b + b_d) + f_1(x)
        S = sum_i softmax(W_(k,d) r)_i E_i(r)          shared experts
        D = beta_D E_d(r) + (1 - beta_D) mean_(j != d) E_j(r)    the domains'
        T = beta_T E_k(r) + (1 - beta_T) mean_(j != k) E_j(r)    the tasks'
        y^k = (S + alpha_D D + alpha_T T) / (1 + alpha_D + alpha_T)

    d is the row's domain, f a dense layer with layer normalisation, as is each expert.
    alpha and beta are four numbers in (0, 1), sigmoids of what is learnt: how much the
    kinds of experts count, and how much a domain's or task's own. The gradient of the
    gates stops at r.

    Deviations from the paper: alpha and beta are learnt with all else, there on other
    data, by turns; the sum of the three is not divided there, so that towers start with
    large logits. W_d starts at 1, see `STAR`. With a single domain, or task, D, or T,
    is its expert alone.

    Args:
        tasks: List of strings. Names of the tasks.
        domains: Integer. Number of domains; ids are in [0, domains). Defaults to 1.
        domain_units: Integer. Width of the layer by domain. Defaults to 256.
        units: Integer. Width of r. Defaults to 128.
        shared_experts: Integer. Defaults to 4.
        expert_units: Integer. Width of every expert, which has one layer. Defaults to
            64.
        activation: String or callable. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output: dict {task: (batch, expert_units)}.

    Example:
    >>> ops = keras.ops
    >>> layer = M3oE(["click", "like"], domains=3, expert_units=8)
    >>> out = layer(ops.ones((4, 5)), ops.array([0, 2, 1, 2]))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [M3oE](https://arxiv.org/abs/2404.18465)
    """

    def __init__(
        self,
        tasks,
        domains=1,
        domain_units=256,
        units=128,
        shared_experts=4,
        expert_units=64,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_positive("domains", domains)
        _errors.check_positive("shared_experts", shared_experts)
        _errors.check_positive("domain_units", domain_units)
        _errors.check_positive("expert_units", expert_units)
        self.domains = domains
        self.shared_experts = shared_experts
        self.expert_units = expert_units

        def bank(experts, width, name):
            return LayerNormalisedExperts(
                experts, width, activation, dtype=self.dtype_policy, name=name
            )

        self.star = StarDense(
            domains, domain_units, dtype=self.dtype_policy, name="by_domain"
        )
        self.deep = bank(1, units, "deep")
        self.skip = bank(1, units, "skip")
        self.banks = [
            bank(shared_experts, expert_units, "shared_experts"),
            bank(domains, expert_units, "domain_experts"),
            bank(len(self.tasks), expert_units, "task_experts"),
        ]

    def build(self, inputs_shape, domain_shape=None):
        """Builds the layers and experts; creates the gates, alpha and beta."""
        _errors.check_rank(self, inputs_shape, 2)
        self.star.build(inputs_shape)
        self.deep.build(self.star.compute_output_shape(inputs_shape))
        self.skip.build(inputs_shape)
        (width,) = self.skip.dense.units
        for bank in self.banks:
            bank.build((None, width))
        gates = len(self.tasks) * self.domains * self.shared_experts
        self.kernel = self.add_weight(
            name="gates", shape=(width, gates), initializer="glorot_uniform"
        )

        def number(name, shape):
            return self.add_weight(name=name, shape=shape, initializer="ones")

        self.alpha = number("alpha", (2,))
        groups = {"domain_beta": self.domains, "task_beta": len(self.tasks)}
        self.betas = {name: number(name, ()) for name, n in groups.items() if n > 1}

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to {task: (batch, expert_units)}."""
        chosen = one_hot_domains(domain, self.domains, self.compute_dtype)  # (B, D)
        x = self.deep(self.star(inputs, domain)) + self.skip(inputs)
        x = ops.squeeze(x, 1)  # (B, U)
        shared, of_domains, of_tasks = (bank(x) for bank in self.banks)  # (B, E, V)
        gates = ops.matmul(ops.stop_gradient(x), self.kernel)
        shape = (-1, self.domains, len(self.tasks), self.shared_experts)
        gates = ops.softmax(of_own_domain(ops.reshape(gates, shape), chosen))
        mixes = ops.matmul(gates, shared)  # (B, T, V)
        own = ops.matmul(chosen, self._balance("domain_beta", self.domains))  # (B, D)
        balance = self._balance("task_beta", len(self.tasks))  # (T, T)
        alpha = ops.sigmoid(self.alpha)
        note_gate(f"{self.path}/kinds", alpha, ["domain", "task"])
        labels = [f"expert_{i}" for i in range(self.shared_experts)]
        of_domain = alpha[0] * of_own_domain(of_domains, own)
        outputs = {}
        for i, task in enumerate(self.tasks):
            note_gate(f"{self.path}/{task}_gate", gates[:, i], labels)
            gated_experts.note(f"{self.path}/{task}_gate", shared)
            of_task = ops.squeeze(ops.matmul(balance[i : i + 1], of_tasks), 1)
            fused = mixes[:, i] + of_domain + alpha[1] * of_task
            outputs[task] = fused / (1 + ops.sum(alpha))
        return outputs

    def _balance(self, name, n):
        """Returns weights (n, n): of each one's own expert, and of the others."""
        own = ops.eye(n, dtype=self.compute_dtype)
        if n == 1:
            return own
        beta = ops.sigmoid(self.betas[name])
        shares = ops.stack([beta, 1 - beta])
        note_gate(f"{self.path}/{name}", shares, ["own", "others"])
        return beta * own + (1 - beta) / (n - 1) * (1 - own)

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns {task: (batch, expert_units)}."""
        return dict.fromkeys(self.tasks, (inputs_shape[0], self.expert_units))
