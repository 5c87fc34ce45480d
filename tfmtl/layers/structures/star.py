"""STAR: each domain's network is a shared one times the domain's own."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.domains import of_own_domain, one_hot_domains
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.partitioned_normalization import PartitionedNormalization
from tfmtl.layers.blocks.recording import hidden_units
from tfmtl.layers.structures.ple import SHARED


class StarDense(Layer):
    """A dense layer of which every domain has a version: x (W * W_d) + b + b_d.

    What is learnt of W_d is by how much it differs from 1.

    The product of all domains is taken for every row, and the row's own is picked.

    Args:
        domains: Integer. Number of domains.
        units: Integer. Width of the output.
        activation: String or callable. Defaults to none.
    """

    def __init__(self, domains, units, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.domains = domains
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, domain_shape=None):
        """Creates W, b, and W_d - 1 and b_d of all domains, which start at 0."""
        width = inputs_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(width, self.units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        self.domain_kernels = self.add_weight(
            name="domain_kernels",
            shape=(width, self.domains, self.units),
            initializer="zeros",
        )
        self.domain_biases = self.add_weight(
            name="domain_biases", shape=(self.domains, self.units), initializer="zeros"
        )

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to (batch, units)."""
        chosen = one_hot_domains(domain, self.domains, self.compute_dtype)  # (B, D)
        # (W, D, U), as a matrix (W, D U)
        kernels = ops.expand_dims(self.kernel, 1) * (1 + self.domain_kernels)
        kernels = ops.reshape(kernels, (-1, self.domains * self.units))
        x = ops.reshape(
            ops.matmul(inputs, kernels), (-1, self.domains, self.units)
        )  # (B, D, U)
        x = of_own_domain(x, chosen) + self.bias
        x = self.activation(x + ops.matmul(chosen, self.domain_biases))
        if self.activation is not keras.activations.linear:
            hidden_units.note(self.path, (x, 0))
        return x

    def compute_output_shape(self, inputs_shape, domain_shape=None):
        """Returns (batch, units)."""
        return (inputs_shape[0], self.units)


@keras.saving.register_keras_serializable("tfmtl")
class StarTower(Layer):
    """A task's tower, a star in every layer: each row gets the logit of its domain.

        W_d* = W * W_d,  b_d* = b + b_d
        h' = activation(h W_d* + b_d*)

    See `STAR` for how the domains' parts start.

    Args:
        domains: Integer. Number of domains; ids are in [0, domains).
        units: Tuple of integers. Hidden layers; empty for a linear tower.
        activation: String or callable of the hidden layers. Defaults to "relu".
        logits: Integer. How many there are; some losses need several. Defaults to 1.

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output shape: (batch, logits).

    Example:
    >>> ops = keras.ops
    >>> StarTower(3, (16,))(ops.ones((4, 8)), ops.array([0, 2, 1, 2])).shape
    TensorShape([4, 1])

    See Also: `DomainTower`, whose domains share nothing.

    References:
        - [STAR](https://arxiv.org/abs/2101.11427)
    """

    def __init__(self, domains, units=(64,), activation="relu", logits=1, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("domains", domains)
        _errors.check_positive("logits", logits)
        self.layers = _star_layers(
            domains, _errors.check_units("units", units), activation, self.dtype_policy
        )
        self.layers.append(
            StarDense(domains, logits, dtype=self.dtype_policy, name="logit")
        )

    @property
    def output_bias(self):
        """The variable that is added to the logits of every domain, (logits,)."""
        return self.layers[-1].bias

    def build(self, inputs_shape, domain_shape=None):
        """Builds the layers."""
        _errors.check_rank(self, inputs_shape, 2)
        for layer in self.layers:
            layer.build(inputs_shape)
            inputs_shape = layer.compute_output_shape(inputs_shape)

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to (batch, logits)."""
        x = inputs
        for layer in self.layers:
            x = layer(x, domain)
        return x

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns (batch, logits)."""
        return (inputs_shape[0], self.layers[-1].units)


@keras.saving.register_keras_serializable("tfmtl")
class STAR(Layer):
    """Star Topology Adaptive Recommender: below the towers, and beside them.

        z' = PN_d(z)                         see `PartitionedNormalization`
        W_d* = W * W_d,  b_d* = b + b_d
        h_{l+1} = activation(h_l W_d* + b_d*),  h_0 = z'
        s = DNN(z)                           the auxiliary network's hidden layer

    The product of weights is by elements: W is what the domains have in common, W_d
    what is d's own. Only the domains of a batch learn from it.

    Reconstruction: how W_d and b_d start. Here at 1 and 0, so that every domain starts
    as the shared network, and one that training has not met stays so; what decays or is
    penalised is W_d - 1. (Public code draws both factors like kernels, which makes
    their product small.)

    Args:
        tasks: List of strings. Names of the tasks, which share this part.
        domains: Integer. Number of domains; ids are in [0, domains). Defaults to 1.
        units: Tuple of integers. Layer widths of the star network. Defaults to
            (256, 128).
        auxiliary_units: Tuple of integers. Layer widths of the auxiliary network; ()
            leaves it out. Defaults to (32,).
        normalise: Boolean. Whether the input is normalised by domain. Defaults to True.
        activation: String or callable. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width), the domain's embedding being a part.
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output: dict {task: (batch, units[-1])}, the same tensor for each task; and, of the
    auxiliary network, "shared": (batch, auxiliary_units[-1]).

    Example:
    >>> ops = keras.ops
    >>> layer = STAR(["click"], domains=3, units=(8,))
    >>> out = layer(ops.ones((4, 5)), ops.array([0, 2, 1, 2]))
    >>> {name: tuple(x.shape) for name, x in out.items()}
    {'click': (4, 8), 'shared': (4, 32)}

    References:
        - [STAR](https://arxiv.org/abs/2101.11427)
    """

    def __init__(
        self,
        tasks,
        domains=1,
        units=(256, 128),
        auxiliary_units=(32,),
        normalise=True,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_positive("domains", domains)
        self.units = _errors.check_units("units", units)
        self.auxiliary_units = _errors.check_units("auxiliary_units", auxiliary_units)
        policy = self.dtype_policy
        self.norm = None
        if normalise:
            self.norm = PartitionedNormalization(domains, dtype=policy, name="norm")
        self.layers = _star_layers(domains, self.units, activation, policy)
        self.auxiliary = None
        if self.auxiliary_units:
            self.auxiliary = DNN(
                self.auxiliary_units, activation, dtype=policy, name="auxiliary"
            )

    def build(self, inputs_shape, domain_shape=None):
        """Builds the normalisation and both networks."""
        _errors.check_rank(self, inputs_shape, 2)
        if self.norm:
            self.norm.build(inputs_shape)
        if self.auxiliary:
            self.auxiliary.build(inputs_shape)
        for layer in self.layers:
            layer.build(inputs_shape)
            inputs_shape = layer.compute_output_shape(inputs_shape)

    def call(self, inputs, domain, training=None):
        """Maps (batch, width) and (batch,) to {task: (batch, units[-1])}."""
        x = inputs
        if self.norm:
            x = self.norm(x, domain, training=training)
        for layer in self.layers:
            x = layer(x, domain)
        outputs = dict.fromkeys(self.tasks, x)
        if self.auxiliary:
            outputs[SHARED] = self.auxiliary(inputs)
        return outputs

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns {task: (batch, units[-1])}, and "shared"."""
        batch, width = inputs_shape
        width = self.units[-1] if self.units else width
        shapes = dict.fromkeys(self.tasks, (batch, width))
        if self.auxiliary:
            shapes[SHARED] = (batch, self.auxiliary_units[-1])
        return shapes


def _star_layers(domains, units, activation, policy):
    """Returns one `StarDense` a width."""
    return [
        StarDense(domains, width, activation, dtype=policy, name=f"star_{i}")
        for i, width in enumerate(units)
    ]
