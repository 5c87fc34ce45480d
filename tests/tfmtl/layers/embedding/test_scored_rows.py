"""Admission and eviction by a feature's score."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import optimizers
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.scored_rows import ScoredRows
from tfmtl.optimizers.row_sparse import optimizer_of


def _train(rows, *batches):
    for batch in batches:
        rows.update(tf.constant(batch, tf.int64))


def _rows(rows, ids):
    return rows(tf.constant(ids, tf.int64)).numpy().tolist()


def _exact(capacity, **options):
    """Rows whose sketch has so many counters that ids in these tests do not meet."""
    rows = ScoredRows(capacity, **options)
    rows.build(None)
    return rows


def test_admission_takes_min_score():
    rows = _exact(4, min_score=3.0, decay=1.0)
    _train(rows, [5, 6, 5])
    np.testing.assert_array_equal(rows.scores(tf.constant([5, 6], tf.int64)), [2, 1])
    assert _rows(rows, [5, 6, 0]) == [0, 0, 0]
    _train(rows, [5, 0, 0, 0, 0])
    (row,) = _rows(rows, [5])
    assert 1 <= row <= 4
    assert _rows(rows, [[6, 0], [5, 5]]) == [[0, 0], [row, row]]
    _train(rows, [6, 6])
    assert _rows(rows, [5])[0] == row and _rows(rows, [6])[0] not in (0, row)


def test_every_option_of_a_feature_reaches_its_rows():
    given = {"capacity": 9, "min_score": 3.0, "decay": 0.5, "pass_steps": 7, "ttl": 5}
    layer = FeatureEmbedding([tfmtl.Categorical("a", embedding_dim=2, **given)])
    layer({"a": np.array([1])})
    config = layer.scored["a"].get_config()
    assert {name: config[name] for name in given} == given


def test_scores_decay_at_the_end_of_a_pass():
    rows = _exact(4, min_score=100.0, decay=0.5, pass_steps=2)
    seven = tf.constant([7], tf.int64)
    expected = []
    score = 0.0
    for step in range(7):
        if step and step % 2 == 0:
            score *= 0.5
        score += 2
        expected.append(score)
    found = []
    for _ in range(7):
        _train(rows, [7, 7])
        found.append(float(rows.scores(seven)[0]))
    np.testing.assert_allclose(found, expected)


def test_a_score_is_too_high_only_where_both_lines_of_the_sketch_meet():
    """1024 ids in 1024 counters: 63 % meet another in a line, in both 40 %."""
    rows = ScoredRows(8, min_score=1e9)
    ids = tf.range(1, 1025, dtype=tf.int64)
    _train(rows, ids)
    scores = rows.scores(ids).numpy()
    assert scores.min() == 1
    assert np.mean(scores > 1) == pytest.approx((1 - np.exp(-1)) ** 2, abs=0.03)


def test_the_lowest_is_evicted_and_newcomers_do_not_churn():
    rows = _exact(3, min_score=1.0, decay=1.0)
    for i, count in ((1, 9), (2, 4), (3, 6)):
        _train(rows, [i] * count)
    assert sorted(_rows(rows, [1, 2, 3])) == [1, 2, 3]
    before = _rows(rows, [1, 2, 3])
    # LRU would have let each of these in.
    for i in range(100, 120):
        assert len(rows.update(tf.constant([i], tf.int64))) == 0
    assert _rows(rows, [1, 2, 3]) == before
    _train(rows, [4] * 4)  # as high as the lowest is not above it
    assert _rows(rows, [1, 2, 3, 4]) == [*before, 0]
    replaced = rows.update(tf.constant([4], tf.int64))
    assert _rows(rows, [1, 2, 3, 4]) == [before[0], 0, before[2], before[1]]
    np.testing.assert_array_equal(replaced, [before[1]])


def test_what_is_no_longer_seen_makes_room():
    rows = _exact(1, min_score=1.0, decay=0.5, pass_steps=1)
    _train(rows, [1] * 8)
    _train(rows, [2] * 3)  # 8 * 0.5 is more
    assert _rows(rows, [1, 2]) == [1, 0]
    _train(rows, [2])  # 2 against 2.5
    assert _rows(rows, [1, 2]) == [0, 1]


def test_an_id_that_is_not_seen_for_its_time_to_live_loses_its_row():
    rows = _exact(8, min_score=2.0, decay=1.0, ttl=3)
    _train(rows, [1, 1, 2, 2], [2], [2], [2])
    (one, two) = _rows(rows, [1, 2])
    assert one and two and one != two  # three batches ago is not too long
    _train(rows, [2])
    assert _rows(rows, [1, 2]) == [0, two]
    # Its row is free: a newcomer of a lower score than its own gets it.
    replaced = rows.update(tf.constant([3, 3], tf.int64)).numpy().tolist()
    assert len(replaced) == 1 and _rows(rows, [3]) == replaced
    # Seen again it is a new one, whose row is set anew.
    replaced = rows.update(tf.constant([1], tf.int64)).numpy().tolist()
    assert _rows(rows, [1]) == replaced != [0]
    assert _rows(rows, [2, 3]) == [two, *_rows(rows, [3])] and 0 not in _rows(rows, [3])


def test_rows_of_unknown_age_stay_until_they_are_seen():
    old, new = _exact(4, min_score=1.0), _exact(4, min_score=1.0, ttl=2)
    _train(old, *([[5]] * 9))
    for weight in old.weights:  # as a warm start does
        (own,) = (w for w in new.weights if w.name == weight.name)
        own.assign(weight)
    _train(new, [6], [6], [6])
    assert 0 not in _rows(new, [5, 6])
    _train(new, [5], [6], [6], [6])
    assert [r > 0 for r in _rows(new, [5, 6])] == [False, True]


def test_of_one_batch_the_best_of_a_set_comes_in():
    rows = _exact(8, min_score=1.0, decay=1.0)
    _train(rows, [1, 2, 2, 3])
    assert [r > 0 for r in _rows(rows, [1, 2, 3])] == [False, True, False]


def test_never_more_than_capacity_and_no_two_ids_in_a_row():
    capacity = 100
    rows = _exact(capacity, min_score=2.0, decay=0.9, pass_steps=10)
    random = np.random.default_rng(0)
    ids = np.arange(1, 3000)
    step = tf.function(rows.update, input_signature=[tf.TensorSpec([None], tf.int64)])
    for _ in range(60):
        step(np.minimum(random.zipf(1.2, 512), 2999))
    found = np.array(_rows(rows, ids))
    owned = found[found > 0]
    assert len(owned) == len(set(owned)) and owned.max() <= capacity
    assert len(owned) > 80
    # The most frequent ids are in.
    assert (found[:10] > 0).all()


@pytest.fixture
def model():
    features = [
        tfmtl.Categorical("item", capacity=8, embedding_dim=4, min_score=2.0),
        tfmtl.Categorical("user", vocabulary_size=5, embedding_dim=4),
        tfmtl.Sequence("seen", of="item", max_length=2),
    ]
    model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("click")])
    model.compile(keras.optimizers.SGD(0.5))
    return model


BIG = 2**50
INPUTS = {
    "item": np.array([BIG, BIG, 5, 0]),
    "user": np.array([1, 2, 3, 4]),
    "seen": np.array([[BIG, 0], [0, 0], [5, 0], [6, 0]]),
}


def test_a_model_admits_in_training_alone(model, tmp_path):
    labels = {"click": np.array([1.0, 1, 0, 0])}
    model.predict(INPUTS, verbose=0)
    model.evaluate(INPUTS, labels, verbose=0)
    scored = model.embedding.scored["item"]
    assert int(scored.steps.value) == 0 and not scored.sketch.numpy().any()
    shared = model.embedding.table("item")[0]
    model.fit(INPUTS, labels, epochs=3, batch_size=4, verbose=0)
    # Items and sequences count together: three and two a batch, and one.
    ids = tf.constant([BIG, 5, 6], tf.int64)
    np.testing.assert_allclose(scored.scores(ids), [9, 6, 3])
    rows = scored(ids).numpy()
    assert (rows > 0).sum() == 3 and len(set(rows)) == 3
    table = model.embedding.table("item")
    assert np.abs(table[rows] - shared).max() > 0  # learnt since
    expected = model.predict(INPUTS, verbose=0)["click"]

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(INPUTS, verbose=0)["click"], expected)
    tfmtl.export(model, tmp_path / "exported")
    served = tf.saved_model.load(str(tmp_path / "exported")).signatures["transformed"]
    inputs = {name: tf.constant(value) for name, value in INPUTS.items()}
    np.testing.assert_allclose(served(**inputs)["click"], expected, rtol=1e-5)
    # Ids without a row are all one.
    inputs["item"] = tf.constant([77, 78, 79, 0], tf.int64)
    inputs |= {"user": inputs["user"][:1].numpy().repeat(4), "seen": 0 * INPUTS["seen"]}
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    assert len(np.unique(served(**inputs)["click"])) == 1


def test_a_new_owner_starts_as_row_0_was():
    features = [
        tfmtl.Categorical("user", vocabulary_size=3, embedding_dim=2),
        tfmtl.Categorical("item", capacity=2, embedding_dim=2, min_score=1.0),
    ]
    layer = FeatureEmbedding(features)
    layer.build()
    layer.set_table("item", [[1, 2], [3, 4], [5, 6]])
    users = layer.table("user")
    told = []
    layer.on_replaced = lambda table, rows: told.append((table.path, rows.numpy()))
    out = layer({"user": np.zeros(1, int), "item": np.array([9])}, training=True)
    np.testing.assert_array_equal(out["item"], [[1, 2]])
    ((path, (row,)),) = told
    assert path == layer.tables["table_2"].path
    assert row in (4, 5)  # three users, row 0, then the item's
    table = layer.table("item")
    np.testing.assert_array_equal(table[row - 3], [1, 2])
    np.testing.assert_array_equal(table[9 - row - 3], {4: [5, 6], 5: [3, 4]}[row])
    np.testing.assert_array_equal(layer.table("user"), users)


def _mixed(tables):
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        return pytest.param(None, marks=pytest.mark.skip("Keras for Python 3.10"))
    return optimizers.split(tables, keras.optimizers.Adam(1e-3))


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.LazyAdam(0.1),
        optimizers.SparseAdagrad(0.1, initial_accumulator_value=0.25),
        _mixed(optimizers.RowwiseAdagrad(0.1, initial_accumulator_value=0.25)),
        _mixed(optimizers.SparseSGD(0.1, momentum=0.9)),
        keras.optimizers.LossScaleOptimizer(optimizers.LazyAdam(0.1)),
    ],
    ids=["adam", "adagrad", "rowwise", "momentum", "scaled"],
)
@pytest.mark.filterwarnings("ignore:No row has a label")
def test_a_new_owner_does_not_inherit_what_the_optimizer_knew(optimizer):
    features = [
        tfmtl.Categorical("user", vocabulary_size=3, embedding_dim=4),
        tfmtl.Categorical("item", capacity=1, embedding_dim=4, min_score=1.0),
    ]
    model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("click")])
    model.compile(optimizer, run_eagerly=True)

    def fit(item, rows, label):
        inputs = {"user": np.zeros(rows, int), "item": np.full(rows, item)}
        labels = {"click": np.full(rows, label)}
        model.fit(inputs, labels, batch_size=rows, verbose=0)

    table, place = model.embedding.place("item")
    row = place.start + 1
    rule = optimizer_of(model.optimizer, table)
    assert rule.starts(table)
    fit(1, 2, 1.0)
    assert _rows(model.embedding.scored["item"], [1, 2]) == [1, 0]
    for slot, start in rule.starts(table):
        assert (slot[row].numpy() != start).all()
    # Id 2 evicts id 1. Without labels its own gradient is 0.
    fit(2, 3, np.nan)
    assert _rows(model.embedding.scored["item"], [1, 2]) == [0, 1]
    for slot, start in rule.starts(table):
        np.testing.assert_allclose(slot[row].numpy(), start)
        assert (slot[0].numpy() != start).all()  # of user 0
