"""Partial parameter sharing: parallel networks that have some units in common."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class PartialDense(Layer):
    """Copies of a dense layer, a part of whose units are the same weights in each.

        z_k = activation([W_s q_k + b_s ; W_k q_k + b_k]),   k = 1 .. copies

    W_s makes floor(shared_ratio * units) units and is common to the copies, W_k makes
    the others. With n units, n_s of them common, and an input of width m, the kernels
    hold m (n_s + copies (n - n_s)) numbers: ratio 1 is hard sharing, ratio 0 separate
    networks.

    Args:
        units: Integer. Width of each copy.
        copies: Integer. Number of copies, one a task.
        shared_ratio: Float in [0, 1]. Defaults to 0.5.
        activation: String or callable. Defaults to none.
        use_bias: Boolean. Defaults to True.

    Input shape: (copies, batch, width), or (1, batch, width), which all copies read.

    Output shape: (copies, batch, units). The copies come first, so that the kernels of
    all apply in one batched product. More axes may stand in front of both.

    Example:
    >>> PartialDense(8, copies=2)(keras.ops.ones((1, 4, 5))).shape
    TensorShape([2, 4, 8])
    """

    def __init__(
        self,
        units,
        copies,
        shared_ratio=0.5,
        activation=None,
        use_bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _errors.check_positive("units", units)
        _errors.check_positive("copies", copies)
        _errors.check_ratio("shared_ratio", shared_ratio)
        self.units = units
        self.copies = copies
        self.shared_ratio = shared_ratio
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.shared_units = floor_share(shared_ratio, units)

    def build(self, input_shape):
        """Creates the common and the separate kernels and biases."""
        width = input_shape[-1]
        # Glorot's limit of one whole copy, whatever its parts.
        limit = (6 / (width + self.units)) ** 0.5
        self.parts = []
        for name, lead, units in (
            ("shared", (), self.shared_units),
            ("own", (self.copies,), self.units - self.shared_units),
        ):
            if units:
                kernel = self.add_weight(
                    name=f"{name}_kernel",
                    shape=(*lead, width, units),
                    initializer=keras.initializers.RandomUniform(-limit, limit),
                )
                bias = None
                if self.use_bias:
                    shape = (*lead, 1, units)
                    bias = self.add_weight(
                        name=f"{name}_bias", shape=shape, initializer="zeros"
                    )
                self.parts.append((kernel, bias))

    def whole(self):
        """Returns kernel (copies, width, units) and bias (copies, 1, units) or None."""
        kernels = [spread(kernel, self.copies) for kernel, _ in self.parts]
        kernel = ops.concatenate(kernels, axis=-1)
        if not self.use_bias:
            return kernel, None
        biases = [spread(bias, self.copies) for _, bias in self.parts]
        return kernel, ops.concatenate(biases, axis=-1)

    def call(self, inputs):
        """Maps (copies or 1, batch, width) to (copies, batch, units)."""
        if inputs.shape[-3] == self.copies:
            # The kernels are put together rather than the outputs, which are larger.
            kernel, bias = self.whole()
            x = product(inputs, kernel)
            return self.activation(x if bias is None else x + bias)
        outputs = []
        for kernel, bias in self.parts:
            x = product(inputs, kernel)
            if bias is not None:
                x = x + bias
            # Common units of a common input are computed once for all copies.
            outputs.append(spread(x, self.copies))
        return self.activation(ops.concatenate(outputs, axis=-1))

    def compute_output_shape(self, input_shape):
        """Returns (copies, batch, units)."""
        return (*input_shape[:-3], self.copies, input_shape[-2], self.units)


def product(x, kernels):
    """Returns x_k W_k of each copy k.

    Args:
        x: Tensor of shape (..., copies or 1, batch, width).
        kernels: Tensor of shape (copies, width, units), or (width, units) for all.
    """
    if len(kernels.shape) == 3 and kernels.shape[0] > 1:
        return ops.matmul(x, kernels)
    # One product of two matrices. TensorFlow 2.21's batched one, with oneDNN, would
    # besides read behind the end of such kernels if x has more than three axes; and
    # that is what `ops.matmul` becomes before Keras 3.13.
    return ops.tensordot(x, ops.reshape(kernels, kernels.shape[-2:]), axes=1)


def spread(x, copies):
    """Repeats (batch, width), or (1, batch, width), to (copies, batch, width)."""
    if len(x.shape) == 2:
        x = ops.expand_dims(x, 0)
    return ops.repeat(x, copies, axis=-3) if x.shape[-3] < copies else x


def floor_share(ratio, number):
    """Returns floor(ratio * number); a product like 28.999... of 0.29 * 100 is 29."""
    return int(ratio * number + 1e-9)
