"""What an old model has learnt, found again by path and by value."""

import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.training import warm_start
from tfmtl.training.warm_start import match_rows, places


def _model(items, tasks=("click",), units=(8, 4), dim=2, buckets=5, oov=0):
    features = [
        tfmtl.Categorical(
            "item", vocabulary_size=items, embedding_dim=dim, oov_buckets=oov
        ),
        tfmtl.Categorical("hashed", num_buckets=buckets, embedding_dim=2),
        tfmtl.Numeric("x"),
    ]
    return tfmtl.models.get("shared_bottom")(
        features, [tfmtl.Task(task) for task in tasks], units=units
    )


def _table(model):
    return model.embedding.table("item")


def _values(model):
    return {
        path: weight.value[rows].numpy()
        for path, (weight, rows) in places(model).items()
    }


def test_the_same_model_is_copied_whole():
    old, new = _model(4), _model(4)
    report = warm_start(new, old)
    assert sorted(report["copied"]) == sorted(places(new))
    assert not report["rows"] and not report["left"]
    for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_table_is_set_in_every_replica():
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        model = _model(4)
    model.embedding.set_table("item", np.ones((4, 2)))
    np.testing.assert_array_equal(_table(model), 1)


def test_a_broken_model_is_refused():
    old, new = _model(4), _model(4)
    old.embedding.set_table("item", np.full((4, 2), np.nan))
    start = new.get_weights()
    with pytest.raises(ValueError, match="finite. Received: .* in 'embedding/item'"):
        warm_start(new, old)
    for a, b in zip(start, new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_follow_their_values():
    old, new = _model(4), _model(5)
    old.embedding.set_table("item", [[9, 9], [1, 1], [2, 2], [3, 3]])
    start = _table(new)
    report = warm_start(
        new, old, {"item": ["c", "new", "a", "newer"]}, {"item": ["a", "b", "c"]}
    )
    found = _table(new)
    np.testing.assert_array_equal(found[[0, 1, 3]], [[9, 9], [3, 3], [1, 1]])
    np.testing.assert_array_equal(found[[2, 4]], start[[2, 4]])
    assert report["rows"] == {"embedding/item": (2, 4)}
    assert len(report["copied"]) == len(places(new)) - 1


def test_rows_of_unknown_ids_stay_at_the_end():
    old, new = _model(2, oov=2), _model(4, oov=2)
    old.embedding.set_table("item", [[9, 9], [1, 1], [7, 7], [8, 8]])
    start = _table(new)
    warm_start(new, old, {"item": ["b", "a", "c"]}, {"item": ["a"]})
    found = _table(new)
    np.testing.assert_array_equal(found[[0, 2, 4, 5]], [[9, 9], [1, 1], [7, 7], [8, 8]])
    np.testing.assert_array_equal(found[[1, 3]], start[[1, 3]])


def test_equal_shapes_do_not_hide_another_order():
    old, new = _model(3), _model(3)
    old.embedding.set_table("item", [[0, 0], [1, 1], [2, 2]])
    warm_start(new, old, {"item": ["b", "a"]}, {"item": ["a", "b"]})
    np.testing.assert_array_equal(_table(new), [[0, 0], [2, 2], [1, 1]])


@pytest.mark.parametrize(
    ("changes", "vocabularies", "path", "reason"),
    [
        ({"dim": 3}, True, "embedding/item", "(4, 2) has become (4, 3)"),
        ({"items": 6}, False, "embedding/item", "(4, 2) has become (6, 2)"),
        ({"buckets": 7}, True, "embedding/hashed", "(5, 2) has become (7"),
        ({"units": (8, 6)}, True, "sharing/bottom/dense_1/kernel", "(8, 4) has become"),
        (
            {"tasks": ("click", "like")},
            True,
            "like_tower/logit/kernel",
            "the old model has none",
        ),
    ],
)
def test_what_has_changed_is_left_and_told(changes, vocabularies, path, reason):
    old, new = _model(4), _model(**{"items": 4, **changes})
    before = _values(new)
    words = {"item": ["a", "b", "c"]} if vocabularies else None
    report = warm_start(new, old, words, words)
    assert reason in report["left"][path]
    np.testing.assert_array_equal(_values(new)[path], before[path])
    told = [*report["copied"], *report["rows"], *report["left"]]
    assert sorted(told) == sorted(before)


def test_ids_that_mean_something_else_are_not_copied():
    old, new = _model(4), _model(4)
    report = warm_start(new, old, {"item": ["a", "b", "c"]})
    assert report["left"]["embedding/item"].startswith("only one")


def test_matching_is_what_a_loop_finds():
    random = np.random.default_rng(0)
    values = [*map(str, random.permutation(60)[:40])]
    old_values = [*map(str, random.permutation(60)[:30])]
    new, old = match_rows(values, old_values)
    both = [
        (values.index(value) + 1, old_values.index(value) + 1)
        for value in values
        if value in old_values
    ]
    assert list(zip(new, old, strict=True)) == both
    assert match_rows(["a"], ["b"])[0].shape == (0,)


def test_tables_of_admitted_ids_are_copied_with_their_counts():
    def make():
        item = tfmtl.Categorical("item", capacity=16)
        return tfmtl.models.get("shared_bottom")([item], [tfmtl.Task("click")])

    old, new = make(), make()
    report = warm_start(new, old)
    assert not report["left"]
    for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_shared_table_is_found_whatever_the_order_of_features():
    def make(names):
        features = [
            tfmtl.Categorical(name, vocabulary_size=4, table="t") for name in names
        ]
        return tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("click")])

    report = warm_start(make("ba"), make("ab"))
    assert "embedding/t" in report["copied"] and not report["left"]
