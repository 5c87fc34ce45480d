"""What a declaration, and those of one model together, must be."""

import pytest

import tfmtl
from tfmtl import Categorical, Numeric, Sequence
from tfmtl.features import check_features


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a"), "exactly one of `vocabulary`"),
        (lambda: Categorical("a", 3, 4), "vocabulary_size', 'num_buckets"),
        (lambda: Categorical("a", 0), "vocabulary_size of 'a' must be a positive"),
        (lambda: Categorical("a", 3, embedding_dim=0), "embedding_dim of 'a'"),
        (lambda: Categorical("a", capacity=9, min_score="2"), "min_score of 'a'"),
        (lambda: Categorical("a", capacity=9, decay="1"), "decay of 'a'"),
        (lambda: Categorical("a", 3, min_score=1.0), "min_score of 'a' needs capacity"),
        (lambda: Numeric(""), "must start with a letter"),
        (lambda: Sequence("a", of="b", max_length=0), "max_length of 'a'"),
        (
            lambda: Sequence("a", of="b", max_length=2, pooling="men"),
            "Did you mean 'mean'",
        ),
    ],
)
def test_bad_declarations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_that_do_not_go_together():
    item = Categorical("item", vocabulary_size=5)
    check_features([item, Sequence("s", of=item, max_length=4)])
    with pytest.raises(ValueError, match="at least one feature"):
        check_features([])
    with pytest.raises(ValueError, match="Received: 'item'"):
        check_features(["item"])
    with pytest.raises(ValueError, match="Received twice"):
        check_features([item, Numeric("item")])
    for one, other in [("a.b", "a_b"), ("a-b", "a.b"), ("A", "a")]:  # see export
        with pytest.raises(ValueError, match=f"apart. Received: '{one}' and '{other}'"):
            check_features([Numeric(one), Numeric(other)])
    with pytest.raises(ValueError, match="of='itme'. Did you mean 'item'"):
        check_features([item, Sequence("s", of="itme", max_length=4)])


@pytest.mark.parametrize("name", ["class", "from", "is", "None", "lambda", "self"])
def test_a_name_that_cannot_be_served_is_refused(name):
    for declare in (
        lambda: Numeric(name),
        lambda: Categorical(name, num_buckets=9),
        lambda: Sequence(name, of="item", max_length=2),
    ):
        with pytest.raises(ValueError, match=f"keyword.*{name!r}; call it '{name}_'"):
            declare()


def test_a_declaration_prints_what_was_given_and_not_a_whole_vocabulary():
    for declared in (
        tfmtl.Categorical("tab", vocabulary=("new", "hot")),
        tfmtl.Categorical("user", num_buckets=100, num_hashes=2, embedding_dim=8),
        tfmtl.Numeric("age", boundaries=(18.0, 65.0), embedding_dim=8),
        tfmtl.Sequence("seen", of="tab", max_length=3, dtype="string"),
        tfmtl.Task("like", space="click"),
        tfmtl.Task("n", kind="count", weight=2.0, tower=()),
    ):
        text = repr(declared)
        assert eval(text, vars(tfmtl)) == declared
        assert "None" not in text
    assert repr(tfmtl.Task("click", kind="binary", loss="bce")) == "Task('click')"
    ids = tfmtl.Categorical("id", vocabulary=[*range(5000)])
    assert repr(ids) == "Categorical('id', vocabulary=(0, 1, 2, ... 5,000 values))"
