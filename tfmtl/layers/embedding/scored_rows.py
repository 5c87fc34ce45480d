"""Rows for the ids that are seen most: admission and eviction by a feature's score."""

import keras
import tensorflow as tf

from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.embedding.table_rows import hash_bucket

WAYS = 8  # rows that one id may take
COUNTERS = 4  # counters for a row, in each line of the sketch
FEWEST_COUNTERS = 1024  # in a line, however few the rows


@keras.saving.register_keras_serializable("tfmtl")
class ScoredRows(Layer):
    """Gives the ids of the highest scores a row each; all others share row 0.

        score = score * decay at the end of a pass, + 1 each time the id is seen

    An id is admitted when its score reaches `min_score` and its set has a free row or
    one of a lower score, which is then evicted. An id that is seen rarely so never
    takes the row of one seen often, as it would with LRU. Keys are compared: two
    admitted ids never share a row.

    How: an id's rows are a set of 8, named by its hash, so "lowest" means lowest of the
    set; a table of up to 8 rows is one set. Scores of all ids, admitted or not, are in
    a count-min sketch of two lines: another id in the same counters can make a score
    too high, never too low. At most one id a set is admitted in a batch, that of the
    highest score.

    Reconstruction of PEPNet's feature score elimination: the paper names its aim, that
    features of low frequency do not enter and leave the table, but gives no formula.

    The state changes in training alone and is saved with the model. It is not for XLA.
    Under `tf.distribute` each replica has all of it, 40 bytes a row, 48 with `ttl`, and
    must be given the ids of all of them.

    With `ttl`, an id that has not been seen in so many batches has no row any more,
    whether another id wants it or not; when it is seen again it is admitted as a new
    one. Rows whose last batch is not known, as those of a model that was trained
    without, are counted from when they are seen.

    Args:
        capacity: Integer. Most rows besides row 0.
        min_score: Float. Score from which on an id may have a row. Defaults to 2.
        decay: Float in (0, 1]. Factor of all scores after a pass. Defaults to 0.99.
        pass_steps: Integer. Batches of a pass. Defaults to 1000.
        ttl: Integer. Batches after which an id that is not seen loses its row.
            Defaults to none: it keeps it until a better one comes.

    Call arguments:
        ids: Integer tensor; 0 is missing and has row 0.

    Output: int32 rows in [0, capacity], of the same shape.

    Example:
    >>> rows = ScoredRows(capacity=4)
    >>> _ = rows.update(keras.ops.array([7, 7, 8]))
    >>> rows(keras.ops.array([7, 8, 0])).numpy() > 0
    array([ True, False, False])

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), section 2.3.
        - [TinyLFU](https://arxiv.org/abs/1512.00727), admission by a sketch of counts.
    """

    supports_jit = False

    def __init__(
        self, capacity, min_score=2.0, decay=0.99, pass_steps=1000, ttl=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.capacity = capacity
        self.min_score = min_score
        self.decay = decay
        self.pass_steps = pass_steps
        self.ttl = ttl
        self.ways = min(WAYS, capacity)
        self.sets = capacity // self.ways
        self.counters = max(COUNTERS * capacity, FEWEST_COUNTERS)

    def build(self, input_shape=None):
        """Creates the keys and scores."""

        def state(name, shape, dtype):
            return self.add_weight(
                name=name,
                shape=shape,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
            )

        self.keys = state("keys", (self.sets, self.ways), "int64")  # 0 is free
        self.sketch = state("sketch", (2 * self.counters,), "float32")
        self.steps = state("steps", (), "int64")
        if self.ttl:  # the step in which an owner was last seen
            self.seen = state("seen", (self.sets * self.ways,), "int64")

    def call(self, ids):
        """Maps ids to rows."""
        ids = tf.cast(ids, tf.int64)
        sets = self._set(ids)
        hit = tf.gather(self.keys.value, sets) == tf.expand_dims(ids, -1)  # (..., W)
        hit &= tf.expand_dims(ids != 0, -1)
        if self.ttl:
            hit &= ~self._expired(sets)
        row = sets * self.ways + tf.argmax(hit, -1, output_type=tf.int32) + 1
        return tf.where(tf.reduce_any(hit, -1), row, tf.zeros_like(row))

    def scores(self, ids):
        """Returns the present score of each id, float32."""
        return tf.reduce_min(tf.gather(self.sketch.value, self._counters(ids)), -1)

    def update(self, ids):
        """Counts a batch of ids, admits and evicts; returns rows with new owners.

        Args:
            ids: Integer tensor of any shape, with repetitions.
        """
        if not self.built:
            self.build(None)
        ids = tf.reshape(tf.cast(ids, tf.int64), (-1,))
        ids, _, counts = tf.unique_with_counts(tf.boolean_mask(ids, ids != 0))
        self._count(ids, tf.cast(counts, tf.float32))
        rows = self(ids)
        if self.ttl:
            self._expire(ids)
            self._see(tf.boolean_mask(rows, rows > 0) - 1)
        scores = self.scores(ids)
        candidates = (rows == 0) & (scores >= self.min_score)
        ids = tf.boolean_mask(ids, candidates)
        scores = tf.boolean_mask(scores, candidates)
        # The first of the best in each set.
        best_first = tf.argsort(scores, direction="DESCENDING", stable=True)
        ids, scores = tf.gather(ids, best_first), tf.gather(scores, best_first)
        sets, which = tf.unique(self._set(ids))
        position = tf.range(tf.size(ids))
        first = tf.math.unsorted_segment_min(position, which, tf.size(sets))
        ids, scores = tf.gather(ids, first), tf.gather(scores, first)

        owners = tf.gather(self.keys.value, sets)  # (S, W)
        owned = tf.where(owners == 0, -1.0, self.scores(owners))
        way = tf.argmin(owned, -1, output_type=tf.int32)
        better = scores > tf.reduce_min(owned, -1)
        taken = tf.one_hot(way, self.ways, True, False) & better[:, None]
        # Of whole sets: no other update is there for what replicas have copies of.
        owners = tf.where(taken, ids[:, None], owners)
        self.keys.value.scatter_update(tf.IndexedSlices(owners, sets))
        rows = tf.boolean_mask(sets * self.ways + way, better)
        if self.ttl:
            self._see(rows)
        return rows + 1

    def _expired(self, sets):
        """Returns which owners of some sets (..., ways) have not been seen for long."""
        seen = tf.gather(self.seen.value, self._rows_of(sets))
        return (seen > 0) & (self.steps.value - seen > self.ttl)

    def _expire(self, ids):
        """Frees what has expired in the sets of a batch's ids."""
        sets, _ = tf.unique(self._set(ids))
        expired = self._expired(sets)
        owners = tf.gather(self.keys.value, sets)
        owners = tf.where(expired, tf.zeros_like(owners), owners)
        self.keys.value.scatter_update(tf.IndexedSlices(owners, sets))
        self._see(tf.boolean_mask(self._rows_of(sets), expired), 0)

    def _see(self, rows, step=None):
        """Notes in which step, the present one or another, the owners were seen."""
        step = self.steps.value if step is None else tf.constant(step, tf.int64)
        steps = tf.fill((tf.size(rows),), tf.identity(step))
        self.seen.value.scatter_update(tf.IndexedSlices(steps, rows))

    def _rows_of(self, sets):
        return sets[..., None] * self.ways + tf.range(self.ways)  # from 0

    def _count(self, ids, counts):
        steps = self.steps.value.assign_add(1)
        if self.decay != 1:

            def end_pass():
                self.sketch.value.assign(self.sketch.value * self.decay)
                return steps

            ends = tf.logical_and(steps > 1, (steps - 1) % self.pass_steps == 0)
            tf.cond(ends, end_pass, lambda: steps)
        counters = tf.reshape(self._counters(ids), (-1,))
        counters, position = tf.unique(counters)
        # Each counter once: in any order, whole numbers have one sum on all replicas.
        counts = tf.math.unsorted_segment_sum(
            tf.repeat(counts, 2), position, tf.size(counters)
        )
        self.sketch.value.scatter_add(tf.IndexedSlices(counts, counters))

    def _set(self, ids):
        return hash_bucket(ids, self.sets, which=0)

    def _counters(self, ids):
        width = self.counters
        return tf.stack(
            [hash_bucket(ids, width, 1), width + hash_bucket(ids, width, 2)], -1
        )

    def compute_output_spec(self, ids):
        """Returns int32 rows of the ids' shape."""
        return keras.KerasTensor(ids.shape, "int32")
