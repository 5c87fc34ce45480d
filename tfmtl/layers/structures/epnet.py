"""PEPNet's EPNet: an embedding that is scaled by the domain."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.gate_nu import (
    GateNU,
    check_gate_input,
    gate_input,
    gate_input_width,
    split_scales,
)
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class EPNet(Layer):
    """Embedding Personalized Network: scales the shared embedding by the domain.

        delta_domain = GateNU(E(F_d) + stop_gradient(E))                  (5)
        O_ep = delta_domain * E                                           (6)

    where + joins vectors, E is the whole embedding and E(F_d) that of the domain's
    features: its id, and statistics of the user and item in it. Gradients reach E
    through the product and E(F_d) through the gate, but E not through the gate.

    Deviation from the paper: E(F_d) is a part of E here, so it is scaled and read by
    the backbone like any other feature.

    Args:
        domain_features: List of strings. Names of F_d. Defaults to none, a single
            domain: the gate depends on E alone.
        gamma: Float. The largest scale, see `GateNU`. Defaults to 2.
        hidden_units: Integer. Width of the gate's hidden layer. Defaults to the number
            of its outputs.
        field_wise: Boolean. One scale a feature instead of one a unit ("vector-wise
            product"), smaller by the embedding's width. Defaults to False.
        embedding_input: String. How the gate reads E: "stop_gradient"; "gradient" and
            "none", figure 5d's ablations. "none" is also the gate of the paper's
            second version. Defaults to "stop_gradient".

    Input: dict {feature: (batch, dim)}, as from `FeatureEmbedding`. Output: the same,
    scaled.

    Example:
    >>> vectors = {"user": keras.ops.ones((2, 4)), "tab": keras.ops.ones((2, 3))}
    >>> out = EPNet(domain_features=["tab"])(vectors)
    >>> {name: tuple(vector.shape) for name, vector in out.items()}
    {'user': (2, 4), 'tab': (2, 3)}

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), eq. 4 to 6.
    """

    def __init__(
        self,
        domain_features=(),
        gamma=2.0,
        hidden_units=None,
        field_wise=False,
        embedding_input="stop_gradient",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.domain_features = check_gate_input(
            "domain_features", domain_features, embedding_input
        )
        self.gamma = gamma
        self.hidden_units = hidden_units
        self.field_wise = field_wise
        self.embedding_input = embedding_input
        GateNU(1, gamma, hidden_units)  # refuses bad arguments before any data

    def build(self, input_shape):
        """Creates the gate; its number of outputs follows from the embedding."""
        _errors.check_vectors(self, input_shape)
        self.widths = {
            name: 1 if self.field_wise else shape[-1]
            for name, shape in input_shape.items()
        }
        self.gate = GateNU(
            sum(self.widths.values()),
            self.gamma,
            self.hidden_units,
            dtype=self.dtype_policy,
            name="gate",
        )
        width = gate_input_width(
            self.domain_features, input_shape, input_shape, self.embedding_input
        )
        self.gate.build((None, width))

    def call(self, inputs):
        """Maps {feature: (batch, dim)} to the same, scaled."""
        selector = gate_input(
            "domain_features",
            self.domain_features,
            inputs,
            inputs,
            self.embedding_input,
        )
        delta = self.gate(selector)  # (B, sum of dims), or (B, fields)
        scales = split_scales(self.path, delta, self.widths)
        return {name: vector * scales[name] for name, vector in inputs.items()}

    def compute_output_shape(self, input_shape):
        """Returns {feature: (batch, dim)}."""
        return {name: tuple(shape) for name, shape in input_shape.items()}
