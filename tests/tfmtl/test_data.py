"""Reading TFRecords."""

import numpy as np
import pytest
import tensorflow as tf

import tfmtl

FEATURES = [
    tfmtl.Categorical("item", vocabulary_size=100),
    tfmtl.Numeric("x"),
    tfmtl.Sequence("seen", of="item", max_length=3),
]
TASKS = [tfmtl.Task("click"), tfmtl.Task("like", label="liked", space="played")]


def _write(path, rows, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for i in rows:
            feature = {
                "item": tf.train.Feature(int64_list=tf.train.Int64List(value=[i])),
                "seen": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[i, 1, 0])
                ),
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[i / 10])),
                "click": tf.train.Feature(float_list=tf.train.FloatList(value=[i % 2])),
                "liked": tf.train.Feature(
                    float_list=tf.train.FloatList(value=[float("nan")])
                ),
                "played": tf.train.Feature(float_list=tf.train.FloatList(value=[1])),
                "other": tf.train.Feature(float_list=tf.train.FloatList(value=[9])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


@pytest.fixture
def files(tmp_path):
    for i in range(4):
        _write(tmp_path / f"{i}.tfrecord.gz", range(i * 10, i * 10 + 10), "GZIP")
    return str(tmp_path / "*.tfrecord.gz")


def _write_blocks(path, rows, size):
    """Writes records of several rows each."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for block in (rows[i : i + size] for i in range(0, len(rows), size)):
            floats = {
                "x": [i / 10 for i in block],
                "click": [i % 2 for i in block],
                "liked": [float("nan")] * len(block),
                "played": [1] * len(block),
            }
            ints = {"item": block, "seen": [n for i in block for n in (i, 1, 0)]}
            feature = {
                key: tf.train.Feature(float_list=tf.train.FloatList(value=values))
                for key, values in floats.items()
            } | {
                key: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for key, values in ints.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def _items(dataset):
    return [int(i) for inputs, _ in dataset for i in inputs["item"]]


def test_ids_of_a_vocabulary_are_int32(tmp_path):
    path = tmp_path / "big.tfrecord"
    _write(path, [7, 2**32 + 5, -(2**40), 2**62])
    kinds = {
        "vocabulary": FEATURES,
        "buckets": [tfmtl.Categorical("item", num_buckets=100), *FEATURES[2:]],
        "unknown": [
            tfmtl.Categorical("item", vocabulary_size=100, oov_buckets=2),
            *FEATURES[2:],
        ],
    }
    for kind, features in kinds.items():
        inputs, _ = next(iter(tfmtl.data.read([path], features, TASKS[:1], 4)))
        if kind == "vocabulary":
            # What int32 cannot hold is outside of the vocabulary still.
            assert inputs["item"].dtype == inputs["seen"].dtype == "int32"
            np.testing.assert_array_equal(inputs["item"], [7, 100, -1, 100])
            np.testing.assert_array_equal(inputs["seen"][:, 0], [7, 100, -1, 100])
        else:
            assert inputs["item"].dtype == inputs["seen"].dtype == "int64"
            expected = [7, 2**32 + 5, -(2**40), 2**62]
            np.testing.assert_array_equal(inputs["item"], expected)


def test_reads_named_features_in_order(files):
    dataset = tfmtl.data.read(files, FEATURES, TASKS, batch_size=16, rows=40)
    assert dataset.cardinality() == 3
    inputs, labels = next(iter(dataset))
    assert list(inputs) == ["item", "x", "seen"]
    assert list(labels) == ["click", "liked", "played"]
    np.testing.assert_array_equal(inputs["item"], range(16))
    np.testing.assert_allclose(inputs["x"], np.arange(16) / 10, rtol=1e-6)
    np.testing.assert_array_equal(inputs["seen"][:, 0], range(16))
    np.testing.assert_array_equal(labels["click"], np.arange(16) % 2)
    assert np.isnan(labels["liked"]).all()
    assert _items(dataset) == list(range(40))


def test_shuffles_by_its_seed(files):
    def order(seed):
        return _items(tfmtl.data.read(files, FEATURES, TASKS, 8, shuffle=40, seed=seed))

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(40)) != order(1)
    dataset = tfmtl.data.read(files, FEATURES, TASKS, 8, shuffle=40, seed=1)
    assert _items(dataset) != _items(dataset)  # each epoch anew


@pytest.mark.parametrize(("rows", "shuffle"), [(40, 0), (None, 7)])
def test_goes_on_behind_the_batches_that_are_done_with(files, rows, shuffle):
    options = {"batch_size": 16, "shuffle": shuffle, "seed": 3, "rows": rows}

    def batches(start, count):
        dataset = tfmtl.data.read(files, FEATURES, TASKS, start=start, **options)
        return [list(inputs["item"].numpy()) for inputs, _ in dataset.take(count)]

    whole = batches(0, 9)  # three epochs
    assert [len(batch) for batch in whole] == 3 * [16, 16, 8]
    epochs = [sum(whole[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert (epochs[0] != epochs[1] != epochs[2]) == bool(shuffle)
    tf.random.set_seed(0)  # which is another one in another process
    for start in (1, 3, 5):
        assert batches(start, 9 - start) == whole[start:]


def test_an_order_that_no_seed_tells_cannot_go_on(files):
    with pytest.raises(ValueError, match="`start` needs a `seed`"):
        tfmtl.data.read(files, FEATURES, TASKS, 8, shuffle=40, start=0)


@pytest.mark.parametrize(  # of 4 files
    ("workers", "options"),
    [(2, {}), (2, {"shuffle": 9}), (3, {"shuffle": 9, "seed": 1}), (7, {})],
)
def test_workers_read_shares(files, workers, options):
    """Whole files where there are as many, and records of each file elsewhere."""

    def read(i, **more):
        share = {"shard": (i, workers), **options, **more}
        return tfmtl.data.read(files, FEATURES, TASKS, 3, **share)

    shares = [_items(read(i)) for i in range(workers)]
    assert sorted(item for share in shares for item in share) == [*range(40)]
    assert all(shares)
    if workers == 2:
        assert {item // 10 for item in shares[0]} == {0, 2}
    if options.get("seed") or not options:
        endless = read(1, start=2)
        assert len(_items(endless.take(20))) > len(shares[1])  # more than an epoch
        if not options:
            assert _items(endless.take(1)) == shares[1][6:9]


def test_shares_that_are_none(files, tmp_path):
    for shard in [(2, 2), (-1, 2), 1, (0.5, 2)]:
        with pytest.raises(ValueError, match="must be .i, n., the i-th of n shares"):
            tfmtl.data.read(files, FEATURES, TASKS, 3, shard=shard)
    path = tmp_path / "few.tfrecord"
    _write(path, [1, 2])
    with pytest.raises(ValueError, match="Share 2 of 3 holds no record"):
        tfmtl.data.read(str(path), FEATURES, TASKS, 3, shard=(2, 3))


def test_drop_remainder(files):
    dataset = tfmtl.data.read(files, FEATURES, TASKS, 16, drop_remainder=True)
    assert [len(inputs["x"]) for inputs, _ in dataset] == [16, 16]


def test_plain_files_by_list(tmp_path):
    _write(tmp_path / "a", range(3))
    assert _items(tfmtl.data.read([tmp_path / "a"], FEATURES, TASKS, 2)) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 7, 40])
def test_records_of_several_rows_are_read_as_those_of_one(files, tmp_path, size):
    _write_blocks(tmp_path / "blocks", list(range(40)), size)
    read = [tmp_path / "blocks"], FEATURES, TASKS
    dataset = tfmtl.data.read(*read, batch_size=16, rows=40)
    one_by_one = tfmtl.data.read(files, FEATURES, TASKS, batch_size=16, rows=40)
    for block, rows in zip(dataset, one_by_one, strict=True):
        for part, expected in zip(block, rows, strict=True):
            assert list(part) == list(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(part[name], values)
    shuffled = _items(tfmtl.data.read(*read, 16, shuffle=40, seed=1))
    assert sorted(shuffled) == list(range(40)) != shuffled


def test_shuffles_no_further_than_it_is_told(tmp_path):
    _write(tmp_path / "a", range(100))
    found = _items(
        tfmtl.data.read([tmp_path / "a"], FEATURES, TASKS, 8, shuffle=20, seed=1)
    )
    for start in range(0, 100, 20):
        window = found[start : start + 20]
        assert sorted(window) == list(range(start, start + 20)) != window


def test_what_is_not_there(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="No file matches"):
        tfmtl.data.read(str(tmp_path / "none*"), FEATURES, TASKS, 8)
    with pytest.raises(ValueError, match="all gzip .* or all plain"):
        tfmtl.data.read(["a.gz", "b"], FEATURES, TASKS, 8)
    missing = [*FEATURES, tfmtl.Numeric("y")]
    with pytest.raises(tf.errors.InvalidArgumentError, match="y"):
        _items(tfmtl.data.read(files, missing, TASKS, 8))


def test_feeds_fit(files):
    model = tfmtl.models.get("shared_bottom")(FEATURES, TASKS)
    model.compile()
    dataset = tfmtl.data.read(files, FEATURES, TASKS, 8, rows=40)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["like_loss"] == [0, 0]  # every label is missing
