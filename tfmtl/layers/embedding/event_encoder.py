"""The events of a sequence, of one field or of several, as one vector."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl.features import NumericSequence
from tfmtl.layers.embedding.piecewise_linear import PiecewiseLinear
from tfmtl.layers.sequences.registry import sequence_encoder


class EventEncoder(keras.layers.Layer):
    """Joins the fields of each event, and encodes the events of a row.

    Args:
        sequence: `Sequence`. Its encoder encodes all.
        fields: List. The side fields, `Sequence`s and `NumericSequence`s.
        widths: Dict {field: width of its embedding}, of those with ids.
    """

    def __init__(self, sequence, fields, widths, **kwargs):
        # Autocasting would make a float16 of a number before it is scaled.
        super().__init__(autocast=False, **kwargs)
        self.fields = [sequence, *fields]
        self.widths = widths | {
            f.name: f.embedding_dim or 1
            for f in fields
            if isinstance(f, NumericSequence)
        }
        name, options = sequence.encoding
        self.encoder = sequence_encoder(
            name, dtype=self.dtype_policy, name=name, **options
        )

    def build(self, input_shape=None):
        """Builds the encoder, and the embeddings of numbers with boundaries."""
        self.piecewise = {}
        for field in self.fields:
            if getattr(field, "boundaries", None):
                layer = PiecewiseLinear(
                    [field.boundaries],
                    field.embedding_dim,
                    dtype=self.dtype_policy,
                    name=field.name,
                )
                layer.build((None, 1))
                self.piecewise[field.name] = layer
        self.encoder.build(*self._shapes())

    def call(self, values, targets, present, same=None):
        """Returns (batch, width of the encoder's output).

        Args:
            values: Dict {field: (batch, length, width) of ids, or (batch, length)
                numbers}.
            targets: Dict {field: (batch, width)} of what the ids are compared with.
            present: (batch, length). 1 where there is an event.
            same: (batch, length). Whether an event is of the target's category, for an
                encoder that searches by it.
        """
        events = _joined([self._embed(f, values[f.name]) for f in self.fields])
        given = [events, present]
        if self.encoder.takes_target:
            # How long, or how long ago, is not known of what has not happened yet.
            target = [
                targets[f.name]
                if f.name in targets
                else ops.zeros_like(events[:, 0, : self.widths[f.name]])
                for f in self.fields
            ]
            given.insert(0, _joined(target))
        if same is not None:
            given.append(same)
        return self.encoder(*given)

    def _embed(self, field, values):
        if not isinstance(field, NumericSequence):
            return values
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        numbers = ops.cast(values, wide)
        if field.boundaries:
            found = self.piecewise[field.name](ops.reshape(numbers, (-1, 1)))
            return ops.reshape(found, (-1, field.max_length, field.embedding_dim))
        if field.normalization:
            mean, std = field.normalization
            numbers = (numbers - mean) / std
        known = ops.isfinite(numbers)
        numbers = ops.where(known, numbers, ops.zeros_like(numbers))
        return ops.expand_dims(tf.saturate_cast(numbers, self.compute_dtype), 2)

    def compute_output_shape(self, input_shape=None):
        """Returns (batch, width of the encoder's output)."""
        return self.encoder.compute_output_shape(*self._shapes())

    def _shapes(self):
        """Returns the shapes of what the encoder is called with."""
        width, length = sum(self.widths.values()), self.fields[0].max_length
        events = [(None, length, width), (None, length)]
        return [(None, width), *events] if self.encoder.takes_target else events


def _joined(parts):
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
