"""What replicas send each other to look up rows of sharded tables."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers.embedding.exchange import exchange

COUNT, ROWS, WIDTH = 3, 10, 2
CASES = {
    "repeated": [[1, 1, 9, 4, 1], [1, 0, 8], [2]],
    "all of one replica": [[0, 3, 6, 9], [3, 3], [9, 0]],
    "none": [[5, 2], [], [7]],
}


def _together(functions):
    """Returns what `function(all_to_all)` of each replica returns, each in a thread."""
    sent, barrier = [None] * len(functions), threading.Barrier(len(functions))
    found = [None] * len(functions)

    def run(i):
        def all_to_all(x):
            sent[i] = x
            barrier.wait()
            received = tf.stack([message[i] for message in sent])
            barrier.wait()
            return received

        try:
            found[i] = functions[i](all_to_all)
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_rows_and_their_gradients_are_those_of_a_whole_table(rows):
    whole = np.arange(ROWS * WIDTH, dtype="float32").reshape(ROWS, WIDTH)
    factors = [np.arange(1.0, len(r) + 1, dtype="float32")[:, None] for r in rows]

    def replica(i):
        def look_up(all_to_all):
            own = tf.Variable(whole[i::COUNT])
            with tf.GradientTape() as tape:
                wanted = tf.constant(rows[i], "int32")
                found = exchange(own, wanted, COUNT, all_to_all)
                loss = tf.reduce_sum(found * factors[i])
            return found.numpy(), tape.gradient(loss, own)

        return look_up

    of_all = _together([replica(i) for i in range(COUNT)])
    expected = np.zeros_like(whole)
    for wanted, (found, _), factor in zip(rows, of_all, factors, strict=True):
        np.testing.assert_array_equal(found, whole[np.array(wanted, int)])
        np.add.at(expected, np.array(wanted, int), factor)
    named = np.concatenate(rows).astype(int)
    for i, (_, gradient) in enumerate(of_all):
        np.testing.assert_array_equal(
            tf.convert_to_tensor(gradient), expected[i::COUNT]
        )
        # No row besides, which a row-sparse optimizer would take for looked up.
        assert {*gradient.indices.numpy()} == {
            n // COUNT for n in named if n % COUNT == i
        }
