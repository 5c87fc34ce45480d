"""Cross networks: explicit products of features, one degree higher a layer."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class Cross(Layer):
    """DCN's cross network: a vector of weights a layer.

        x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l

    Args:
        depth: Integer. Number of layers. Defaults to 3.

    Input shape: (batch, width). Output shape: (batch, width).

    Example:
    >>> Cross(2)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 5])

    See Also: `CrossV2`, with a matrix a layer.

    References:
        - [Deep & Cross Network](https://doi.org/10.1145/3124749.3124754)
    """

    multiplies = True

    def __init__(self, depth=3, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        self.depth = depth

    def build(self, input_shape):
        """Creates w, (width, 1), and b of each layer."""
        _errors.check_rank(self, input_shape, 2)
        width = input_shape[-1]
        self.kernels, self.biases = [], []
        for i in range(self.depth):
            self.kernels.append(
                self.add_weight(
                    name=f"kernel_{i}", shape=(width, 1), initializer="glorot_uniform"
                )
            )
            self.biases.append(
                self.add_weight(name=f"bias_{i}", shape=(width,), initializer="zeros")
            )

    def call(self, inputs):
        """Maps (batch, width) to the same shape."""
        x = inputs
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = inputs * ops.matmul(x, kernel) + bias + x  # (B, W)
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, width)."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable("tfmtl")
class CrossV2(Layer):
    """DCN-V2's cross network: a matrix of weights a layer.

        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l                             (1)
        W_l = U_l V_l^T, of rank r, if `rank` is given                    (2)

    Args:
        depth: Integer. Number of layers. Defaults to 3.
        rank: Integer. r. A rank below half the width saves parameters. Defaults to
            the full matrix.

    Input shape: (batch, width). Output shape: (batch, width).

    Example:
    >>> CrossV2(2, rank=2)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 5])

    References:
        - [DCN V2](https://doi.org/10.1145/3442381.3450078), eq. 1 and 2.
    """

    multiplies = True

    def __init__(self, depth=3, rank=None, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        if rank is not None:
            _errors.check_positive("rank", rank)
        self.depth = depth
        self.rank = rank

    def build(self, input_shape):
        """Creates W, or V and U, and b of each layer."""
        _errors.check_rank(self, input_shape, 2)
        width = input_shape[-1]
        self.downs, self.layers = [], []
        for i in range(self.depth):
            if self.rank:
                down = self._dense(self.rank, f"down_{i}", use_bias=False)
                down.build(input_shape)
                self.downs.append(down)
            cross = self._dense(width, f"cross_{i}")
            cross.build((*input_shape[:-1], self.rank or width))
            self.layers.append(cross)

    def _dense(self, units, name, use_bias=True):
        return keras.layers.Dense(
            units, use_bias=use_bias, dtype=self.dtype_policy, name=name
        )

    def call(self, inputs):
        """Maps (batch, width) to the same shape."""
        x = inputs
        for i, cross in enumerate(self.layers):
            crossed = cross(self.downs[i](x) if self.downs else x)
            x = inputs * crossed + x  # (B, W)
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, width)."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable("tfmtl")
class CrossMix(Layer):
    """DCN-Mix: each layer mixes low-rank crosses by a gate of its input.

        x_{l+1} = sum_i G_i(x_l) E_i(x_l) + x_l                           (3)
        E_i(x_l) = x_0 * (U_i V_i^T x_l + b)                     without activation
        E_i(x_l) = x_0 * (U_i g(C_i g(V_i^T x_l)) + b)           with it  (4)
        G(x_l) = softmax(W_g x_l)

    Deviations from the paper: it leaves the gate open (sigmoid or softmax); softmax is
    used, and no bias, as for all other gates here.

    Args:
        depth: Integer. Number of layers. Defaults to 3.
        experts: Integer. Crosses mixed in each layer. Defaults to 4.
        rank: Integer. Rank of each. Defaults to 16.
        activation: String or callable. g; None leaves g and C out. Defaults to "tanh".

    Input shape: (batch, width). Output shape: (batch, width).

    Example:
    >>> CrossMix(2, experts=3, rank=2)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 5])

    References:
        - [DCN V2](https://doi.org/10.1145/3442381.3450078), eq. 3 and 4.
    """

    multiplies = True

    def __init__(self, depth=3, experts=4, rank=16, activation="tanh", **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        _errors.check_positive("experts", experts)
        _errors.check_positive("rank", rank)
        self.depth = depth
        self.experts = experts
        self.rank = rank
        self.activation = activation and keras.activations.get(activation)

    def build(self, input_shape):
        """Creates V, C, U and b of each layer's experts, and its gate."""
        _errors.check_rank(self, input_shape, 2)
        width = input_shape[-1]
        self.downs, self.middles, self.ups, self.biases, self.gates = [], [], [], [], []
        for i in range(self.depth):
            self.downs.append(self._kernel(f"down_{i}", width, self.rank))
            if self.activation:
                self.middles.append(self._kernel(f"middle_{i}", self.rank, self.rank))
            self.ups.append(self._kernel(f"up_{i}", self.rank, width))
            self.biases.append(
                self.add_weight(name=f"bias_{i}", shape=(width,), initializer="zeros")
            )
            self.gates.append(
                self.add_weight(
                    name=f"gate_{i}",
                    shape=(width, self.experts),
                    initializer="glorot_uniform",
                )
            )

    def _kernel(self, name, fan_in, fan_out):
        # Glorot's limit of one expert; on the stack, Glorot would count the experts.
        limit = (6 / (fan_in + fan_out)) ** 0.5
        return self.add_weight(
            name=name,
            shape=(self.experts, fan_in, fan_out),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )

    def call(self, inputs):
        """Maps (batch, width) to the same shape."""
        x = inputs
        labels = [str(i) for i in range(self.experts)]
        for i in range(self.depth):
            weights = ops.softmax(ops.matmul(x, self.gates[i]))  # (B, E)
            note_gate(f"{self.path}/{i}", weights, labels)
            z = ops.matmul(x, self.downs[i])  # (E, B, R)
            if self.activation:
                z = self.activation(ops.matmul(self.activation(z), self.middles[i]))
            mixed = ops.transpose(z, (1, 0, 2)) * ops.expand_dims(weights, -1)
            mixed = ops.reshape(mixed, (-1, self.experts * self.rank))  # (B, E*R)
            up = ops.reshape(self.ups[i], (self.experts * self.rank, -1))
            # The weights sum to 1, so that b, common to the experts, needs none.
            x = inputs * (ops.matmul(mixed, up) + self.biases[i]) + x  # (B, W)
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, width)."""
        return tuple(input_shape)
