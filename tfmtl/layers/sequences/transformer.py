"""Transformers over a sequence: BST's, with the target, and SASRec's, without."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.sequences.transformer_block import TransformerBlock

_SLOPE = 0.2  # of BST's LeakyReLU below 0


@keras.saving.register_keras_serializable("tfmtl")
class BST(Layer):
    """Puts the target behind the sequence, and reads both by a transformer.

        x = [x_1 + p(n), ..., x_n + p(1), q + p(0)]
        v = Block(... Block(x))_{n+1}, the target's place

    with q the target's embedding, x_j those of the n items, the oldest first, and p a
    trainable vector for each distance to the target, counted in items: so the last item
    has the same place in a short list and in a long one. A block is normalised after
    attention and after its two layers, with LeakyReLU, see `TransformerBlock`.

    Deviations from the paper: the distance to the target is in items, not in time,
    which is a side field; all positions but the target's are dropped behind the last
    block, where the paper hands their concatenation to its network; embedding and
    position are added, not concatenated.

    Args:
        blocks: Integer. Number of blocks. Defaults to 1, the paper's.
        heads: Integer. Heads of the attention. Defaults to 2.
        hidden_units: Integer. Width between the two layers. Defaults to 4 times dim.
        dropout: Float in [0, 1). Defaults to 0.

    Call arguments:
        target: (batch, dim).
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, dim). A row without items has what the target alone gives.

    Example:
    >>> ops = keras.ops
    >>> BST()(ops.ones((2, 4)), ops.ones((2, 5, 4)), ops.ones((2, 5))).shape
    TensorShape([2, 4])

    See Also: `SASRec`.

    References:
        - [BST](https://arxiv.org/abs/1905.06874), section 2.
    """

    takes_target = True

    def __init__(self, blocks=1, heads=2, hidden_units=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        _check(blocks, heads, hidden_units)
        self.blocks = blocks
        self.heads = heads
        self.hidden_units = hidden_units
        self.dropout = dropout

    def build(self, target_shape, sequence_shape=None, present_shape=None):
        """Creates the vectors of the distances and the blocks."""
        _, length, dim = sequence_shape
        self.distances = _distances(self, length + 1, dim)
        self.parts = _blocks(self, dim, activation=_leaky_relu)

    def call(self, target, sequence, present, training=None):
        """Maps (batch, dim), (batch, length, dim), (batch, length) to (batch, dim)."""
        mask = ops.cast(present, "int32")
        mask = ops.concatenate([mask, ops.ones_like(mask[:, :1])], axis=1)
        x = ops.concatenate([sequence, ops.expand_dims(target, 1)], axis=1)
        x += ops.take(self.distances, _items_behind(mask), axis=0)
        for block in self.parts:
            x = block(x, mask, training=training)
        return x[:, -1]

    def compute_output_shape(self, target_shape, sequence_shape, present_shape):
        """Returns (batch, dim)."""
        return (sequence_shape[0], sequence_shape[2])


@keras.saving.register_keras_serializable("tfmtl")
class SASRec(Layer):
    """Reads a sequence by a causal transformer; the last item's place sums it up.

        x = [x_1 + p(n - 1), ..., x_n + p(0)]
        v = norm(Block(... Block(x))_n)

    with x_j the embeddings of the n items, the oldest first, and p a trainable vector
    for each distance to the last item. A place sees itself and the items before it. A
    block is normalised first, with ReLU, see `TransformerBlock`. The target is not
    read, so that v is computed once for a user and all candidates.

    Deviations from the paper: v goes to the network below the towers, and is trained
    by the tasks; the paper scores items by v's product with their embeddings, and
    trains each place to tell the next item.

    Args:
        blocks: Integer. Number of blocks. Defaults to 2, the paper's.
        heads: Integer. Heads of the attention. Defaults to 1, the paper's.
        hidden_units: Integer. Width between the two layers. Defaults to dim.
        dropout: Float in [0, 1). Defaults to 0.

    Call arguments:
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, dim); zeros for a row without items.

    Example:
    >>> SASRec()(keras.ops.ones((2, 5, 4)), keras.ops.ones((2, 5))).shape
    TensorShape([2, 4])

    See Also: `BST`.

    References:
        - [SASRec](https://arxiv.org/abs/1808.09781), section III.
    """

    takes_target = False

    def __init__(self, blocks=2, heads=1, hidden_units=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        _check(blocks, heads, hidden_units)
        self.blocks = blocks
        self.heads = heads
        self.hidden_units = hidden_units
        self.dropout = dropout

    def build(self, sequence_shape, present_shape=None):
        """Creates the vectors of the distances, the blocks and the normalisation."""
        _, length, dim = sequence_shape
        self.distances = _distances(self, length, dim)
        self.parts = _blocks(self, dim, factor=1, norm_first=True, is_causal=True)
        self.norm = keras.layers.LayerNormalization(
            dtype=self.dtype_policy, name="norm"
        )
        self.norm.build((None, dim))

    def call(self, sequence, present, training=None):
        """Maps (batch, length, dim), (batch, length) to (batch, dim)."""
        mask = ops.cast(present, "int32")
        behind = _items_behind(mask)
        x = sequence + ops.take(self.distances, behind, axis=0)
        for block in self.parts:
            x = block(x, mask, training=training)
        is_last = ops.cast(mask * ops.cast(behind == 0, "int32"), x.dtype)  # (B, L)
        last = ops.squeeze(ops.matmul(ops.expand_dims(is_last, 1), x), 1)
        # The normalisation would give its bias for a row without items.
        return self.norm(last) * ops.sum(is_last, axis=1, keepdims=True)

    def compute_output_shape(self, sequence_shape, present_shape):
        """Returns (batch, dim)."""
        return (sequence_shape[0], sequence_shape[2])


def _check(blocks, heads, hidden_units):
    _errors.check_positive("blocks", blocks)
    _errors.check_positive("heads", heads)
    if hidden_units is not None:
        _errors.check_positive("hidden_units", hidden_units)


def _distances(layer, count, dim):
    return layer.add_weight(name="distances", shape=(count, dim), initializer="uniform")


def _blocks(layer, dim, factor=4, **options):
    """Returns the built blocks of a layer of width `dim`."""
    blocks = []
    for i in range(layer.blocks):
        block = TransformerBlock(
            layer.heads,
            layer.hidden_units or factor * dim,
            layer.dropout,
            dtype=layer.dtype_policy,
            name=f"block_{i}",
            **options,
        )
        block.build((None, None, dim))
        blocks.append(block)
    return blocks


def _items_behind(mask):
    """Returns how many items follow on each place, int32 (B, L); 0 for padding."""
    behind = ops.flip(ops.cumsum(ops.flip(mask, axis=1), axis=1), axis=1) - mask
    return behind * mask


def _leaky_relu(x):
    return keras.activations.leaky_relu(x, negative_slope=_SLOPE)
