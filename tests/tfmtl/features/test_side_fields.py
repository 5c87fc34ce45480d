"""Side fields of a sequence: declared, read, joined event by event."""

import numpy as np
import pytest

from tfmtl import Categorical, NumericSequence, Sequence, Task, models
from tfmtl.features import check_features
from tfmtl.inputs import read_features
from tfmtl.layers import FeatureEmbedding, sequence_encoder
from tfmtl.layers.sequences.registry import ENCODERS as LAYERS

ITEM = Categorical("item", vocabulary_size=9, embedding_dim=4)
AUTHOR = Categorical("author", vocabulary_size=5, embedding_dim=3)
PLAYED = Sequence("played", of="item", max_length=3)
BY = Sequence("by", of="author", max_length=3, side_of="played")
SECONDS = NumericSequence("seconds", "played", 3, normalization=(10.0, 5.0))
AGE = NumericSequence("age", "played", 3, boundaries=(0, 1, 7), embedding_dim=2)
INPUTS = {
    "item": np.array([1, 2]),
    "author": np.array([1, 4]),
    "played": np.array([[3, 0, 5], [0, 0, 0]]),
    "by": np.array([[2, 4, 0], [0, 0, 0]]),
    "seconds": np.array([[15.0, np.nan, 5.0], [10.0, 0.0, 0.0]]),
    "age": np.array([[0.5, 2.0, np.nan], [np.nan] * 3]),
}


def _events(layer):
    """Returns what each event of the first row is, by what is in the tables."""
    numbers = layer.encoders["played"].piecewise["age"](INPUTS["age"].reshape(-1, 1))
    return np.concatenate(
        [
            layer.table("item")[INPUTS["played"][0]],
            layer.table("author")[INPUTS["by"][0]],
            [[1.0], [0.0], [-1.0]],
            numbers.numpy()[:3, 0],
        ],
        axis=1,
    )


def test_the_fields_of_an_event_stand_side_by_side():
    layer = FeatureEmbedding([ITEM, AUTHOR, PLAYED, BY, SECONDS, AGE])
    out = layer(INPUTS)
    assert [*out] == ["item", "author", "played"]
    # The second event is there too: its item is unknown, but not its author.
    np.testing.assert_allclose(out["played"][0], _events(layer).mean(0), rtol=1e-5)
    np.testing.assert_array_equal(out["played"][1], 0)


def test_the_target_has_a_vector_for_each_list_of_ids_and_zeros_for_numbers():
    played = Sequence("played", of="item", max_length=3, encoder="target_attention")
    layer = FeatureEmbedding([ITEM, AUTHOR, played, BY, SECONDS, AGE])
    out = layer(INPUTS)["played"]
    target = [layer.table("item")[1], layer.table("author")[1], [0.0] * 3]
    encoder = layer.encoders["played"].encoder
    there = np.array([[1, 1, 1]])
    expected = encoder(np.concatenate(target)[None], _events(layer)[None], there)
    np.testing.assert_allclose(out[0], expected[0], rtol=1e-4, atol=1e-6)


def test_sim_sees_the_events_of_the_candidates_category():
    encoder = {"name": "sim", "category": "by", "items": 2}
    played = Sequence("played", of="item", max_length=3, encoder=encoder)
    layer = FeatureEmbedding([ITEM, AUTHOR, played, BY])
    inputs = {
        "item": np.array([1, 1, 1, 1]),
        "author": np.array([4, 2, 0, 7]),  # known, known, missing, unknown
        "played": np.array([[3, 5, 6]] * 4),
        "by": np.array([[4, 2, 4], [4, 2, 4], [0, 0, 0], [7, 7, 7]]),
    }
    out = layer(inputs)["played"].numpy()
    encoder = layer.encoders["played"].encoder
    for row, at in ((0, [0, 2]), (1, [1])):
        events = np.zeros((1, 2, 7), "float32")
        for place, i in enumerate(at):
            item, author = inputs["played"][row, i], inputs["by"][row, i]
            pair = layer.table("item")[item], layer.table("author")[author]
            events[0, place] = np.concatenate(pair)
        author = layer.table("author")[inputs["author"][row]]
        target = np.concatenate([layer.table("item")[1], author])[None]
        there = np.arange(2)[None] < len(at)
        expected = encoder.attention(target, events, there)[0]
        np.testing.assert_allclose(out[row], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(out[2:], 0)


SIM = {"name": "sim", "category": "by"}


@pytest.mark.parametrize("encoder", ["bst", {"name": "dien", "units": 5}])
def test_an_encoder_serves_in_a_model_that_learns(encoder):
    played = Sequence("played", of="item", max_length=3, encoder=encoder)
    model = models.get("shared_bottom")([ITEM, AUTHOR, played, BY, AGE], [Task("a")])
    model.compile(run_eagerly=True)
    before = model.embedding.encoders["played"].get_weights()
    x = {name: INPUTS[name] for name in ("item", "author", "played", "by", "age")}
    model.fit(x, {"a": np.array([0, 1])}, verbose=0)
    after = model.embedding.encoders["played"].get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    shown = []
    model.summary(print_fn=shown.append)
    assert "beside played" in shown[0]


def test_lists_of_one_event_have_one_length():
    x = {**INPUTS, "played": [[3, 1, 5], [2]], "by": [[2, 4, 1], [1, 2]]}
    with pytest.raises(ValueError, match="'by' and 'played' must .* 2 and 1 in row 1"):
        read_features(x, [ITEM, AUTHOR, PLAYED, BY], [])
    x["by"] = [[2, 4, 1], None]  # a list that is missing is padding
    found = read_features(x, [ITEM, AUTHOR, PLAYED, BY], [])
    np.testing.assert_array_equal(found["by"], [[2, 4, 1], [0, 0, 0]])


def test_numbers_of_events_are_padded_with_nan():
    x = {**INPUTS, "played": [[3, 1, 5, 4], [2]], "seconds": [[1, 2, None, 4], [3]]}
    found = read_features(x, [ITEM, PLAYED, SECONDS], [])["seconds"]
    np.testing.assert_array_equal(found, [[2, np.nan, 4], [3, np.nan, np.nan]])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([ITEM, AUTHOR, BY], "side_of of 'by' must be a Sequence .*'played'"),
        (
            [ITEM, PLAYED, NumericSequence("seconds", "played", 4)],
            "max_length of 'seconds' must be that of 'played', 3. Received: 4",
        ),
        (
            [ITEM, AUTHOR, Sequence("played", "item", 3, encoder=SIM), AGE],
            "category of the encoder of 'played' must be a Sequence.*'by'",
        ),
        (
            [
                *(ITEM, AUTHOR, Categorical("other", vocabulary_size=5)),
                Sequence("played", "item", 3, encoder=SIM),
                Sequence("by", "item", 3, side_of="played", target="other"),
            ],
            "must have the embedding_dim|must share the table of 'item'",
        ),
    ],
)
def test_side_fields_that_fit_no_sequence_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        check_features(features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "diem"}, "encoder of 'x' must be one of .*'dien'"),
        ({"encoder": "bst", "pooling": "sum"}, "a pooling or an encoder, not both"),
        ({"encoder": "bst", "side_of": "played"}, "encoded with 'played'"),
        ({"encoder": "sim"}, "encoder of 'x' needs the side field by which"),
        ({"encoder": "sasrec", "target": "item"}, "needs an encoder that takes one"),
    ],
)
def test_an_encoding_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sequence("x", of="item", max_length=3, **options)


def test_architectures_that_part_vectors_take_no_side_fields():
    with pytest.raises(ValueError, match="single_task parts each vector .*'by'"):
        models.get("single_task")([ITEM, AUTHOR, PLAYED, BY], [Task("a")])


def test_features_know_every_encoder():
    from tfmtl.features.sequence import ENCODERS

    takes = {name: sequence_encoder(name).takes_target for name in LAYERS}
    assert takes == ENCODERS
