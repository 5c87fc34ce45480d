"""The signatures of an exported model, as a server without tfmtl sees them."""

import contextlib
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfmtl
from serving.errors import ServingError
from serving.models.servable import Servable
from tfmtl import model_card
from tfmtl.saved_model import example_parsing

FEATURES = [
    tfmtl.Categorical("user", vocabulary_size=4, embedding_dim=4),
    tfmtl.Categorical("item", vocabulary_size=6, embedding_dim=4),
    tfmtl.Numeric("price"),
    tfmtl.Sequence("seen", of="item", max_length=3),
]
TASKS = [
    tfmtl.Task("click"),
    tfmtl.Task("like", space="click"),
    tfmtl.Task("seconds", kind="regression"),
]
WEIGHTS = {"click": 1.0, "like": 0.5, "seconds": 2.0}


class Transform(tf.Module):
    """Numbers in strings to ids; an unknown or missing value is 0, as is a NaN."""

    def __init__(self, folder, items=("i1", "i2", "i3")):
        super().__init__()
        file = folder / "items.txt"
        file.write_text("".join(f"{item}\n" for item in items))
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(file),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )

    @tf.function(
        input_signature=[
            {
                "user": tf.TensorSpec([None], tf.string, "user"),
                "item": tf.TensorSpec([None], tf.string, "item"),
                "price": tf.TensorSpec([None], tf.float32, "price"),
                "seen": tf.TensorSpec([None, 3], tf.string, "seen"),
            }
        ]
    )
    def transform(self, raw):
        price = raw["price"]
        return {
            "user": tf.strings.to_hash_bucket_fast(raw["user"], 4),
            "item": 1 + self.table.lookup(raw["item"]),
            "price": tf.where(tf.math.is_nan(price), 0.0, price / 2),
            "seen": 1 + self.table.lookup(raw["seen"]),
        }


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = tfmtl.models.get("mmoe")(features=FEATURES, tasks=TASKS)
    for weight in model.trainable_weights:  # far from 0.5 everywhere
        weight.assign(3 * weight)
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export-7a3")
    tf.saved_model.save(Transform(folder), str(folder / "transform"))
    tfmtl.export(
        model,
        folder / "model",
        folder / "transform",
        user_features=["user", "seen"],
        fused_score=WEIGHTS,
    )
    (folder / "items.txt").unlink()
    return folder / "model"


@contextlib.contextmanager
def asking(folder):
    """Gives a function that runs a signature in a session, as TF Serving does."""
    # The graph is the default one only while it is loaded: other tests run eagerly.
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))

    def ask(name, **inputs):
        signature = graph.signature_def[name]
        fetch = {key: info.name for key, info in signature.outputs.items()}
        feed = {signature.inputs[key].name: inputs[key] for key in inputs}
        assert feed.keys() == {info.name for info in signature.inputs.values()}
        return session.run(fetch, feed)

    yield ask
    session.close()


@pytest.fixture(scope="module")
def ask(exported):
    """Runs a signature of the model with a transform."""
    with asking(exported) as ask:
        yield ask


RAW = {
    "user": np.array([b"u", b"", b"u", b"w"], object),
    "item": np.array([b"i1", b"unknown", b"", b"i3"], object),
    "price": np.array([1.0, np.nan, -2.0, 4.0], np.float32),
    "seen": np.array([[b"i1", b"i2", b"x"]] * 2 + [[b"", b"", b""]] * 2, object),
}
IDS = {
    "item": np.array([1, 0, 0, 3]),
    "price": np.array([0.5, 0.0, -1.0, 2.0], np.float32),
    "seen": np.array([[1, 2, 0]] * 2 + [[0, 0, 0]] * 2),
}


def expected(model):
    user = tf.strings.to_hash_bucket_fast(RAW["user"].astype("S"), 4)
    outputs = model({"user": user, **IDS})
    return {name: output.numpy() for name, output in outputs.items()}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        assert array.dtype == np.float32 and array.shape == wanted[name].shape
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-6)


def fuse(outputs):
    score = np.ones((len(outputs["click"]), 1))
    for name, weight in WEIGHTS.items():
        score *= np.maximum(outputs[name], 0) ** weight
    return score


def serialize(**features):
    example = tf.train.Example()
    for name, values in features.items():
        kind = "float_list" if name == "price" else "bytes_list"
        getattr(example.features.feature[name], kind).value.extend(values)
    return example.SerializeToString()


EXAMPLES = np.array(
    [
        # Of a longer list, the latest values count.
        serialize(
            user=[b"u"], item=[b"i1"], price=[1], seen=[b"i3", b"i1", b"i2", b"x"]
        ),
        serialize(item=[b"unknown"], seen=[b"i1", b"i2", b"x"]),
        serialize(user=[b"u"], price=[-2]),
        serialize(user=[b"w"], item=[b"i3"], price=[4], seen=[]),
    ],
    object,
)


def test_raw_features_missing_and_unknown_ones(model, ask):
    same(ask("serving_default", **RAW), expected(model))


def test_serialized_examples(model, ask):
    same(ask("examples", examples=EXAMPLES), expected(model))


def test_transformed(model, ask):
    user = tf.strings.to_hash_bucket_fast(RAW["user"].astype("S"), 4).numpy()
    same(ask("transformed", user=user, **IDS), expected(model))


def test_classify_gives_the_binary_tasks_by_name(model, ask):
    outputs = ask("classify", inputs=EXAMPLES)
    assert outputs["classes"].tolist() == [[b"click", b"like"]] * 4
    wanted = np.hstack([expected(model)["click"], expected(model)["like"]])
    np.testing.assert_allclose(outputs["scores"], wanted, rtol=1e-5)
    assert outputs["scores"].dtype == np.float32


def test_regress_gives_the_task_that_is_not_binary(model, ask):
    same(ask("regress", inputs=EXAMPLES), {"outputs": expected(model)["seconds"]})


def test_rank_tiles_the_user_and_fuses_the_tasks(ask):
    candidates = {"item": RAW["item"], "price": RAW["price"]}
    user = {"user": RAW["user"][:1], "seen": RAW["seen"][:1]}
    found = ask("rank", **user, **candidates)
    tiled = {name: np.repeat(value, 4, axis=0) for name, value in user.items()}
    wanted = ask("serving_default", **tiled, **candidates)
    wanted["score"] = fuse(wanted)
    same(found, wanted)
    assert len(np.unique(found["score"])) > 1
    same(ask("rank", **tiled, **candidates), wanted)  # as under --enable_batching
    one = {name: value[:1] for name, value in candidates.items()}
    same(ask("rank", **user, **one), {name: x[:1] for name, x in wanted.items()})
    none = {name: value[:0] for name, value in candidates.items()}
    assert ask("rank", **user, **none)["score"].shape == (0, 1)


def with_prices(prices, ids):
    """Returns the inputs of each signature, of rows that differ in their price only.

    Args:
        prices: List of numbers.
        ids: Whether a categorical feature is an id, and not a string.
    """
    rows = len(prices)
    price = np.array(prices, np.float32)
    if ids:
        row = {
            "user": np.array([1]),
            "item": np.array([3]),
            "seen": np.array([[1] * 3]),
        }
    else:
        row = {name: RAW[name][:1] for name in ("user", "item", "seen")}
    examples = []
    for number in prices:
        example = tf.train.Example()
        for name, values in row.items():
            kind = "int64_list" if ids else "bytes_list"
            getattr(example.features.feature[name], kind).value.extend(values.ravel())
        example.features.feature["price"].float_list.value.append(number)
        examples.append(example.SerializeToString())
    examples = np.array(examples, object)
    raw = {**{k: np.repeat(v, rows, axis=0) for k, v in row.items()}, "price": price}
    return {
        "serving_default": raw,
        "rank": {**raw, "user": raw["user"][:1], "seen": raw["seen"][:1]},
        "examples": {"examples": examples},
        "classify": {"inputs": examples},
        "regress": {"inputs": examples},
    }


NOT_FINITE = [1.0, float("nan"), float("inf"), -float("inf"), -2.0]


def check_that_they_are_missing(ask, signatures, missing):
    """`missing` has the inputs of rows with a number that stands for none."""
    for name, inputs in signatures.items():
        for key, found in ask(name, **inputs).items():
            np.testing.assert_array_equal(found, ask(name, **missing[name])[key], name)
            if key != "classes":
                assert np.isfinite(found).all()
            if key not in ("classes", "score"):  # a product of a 0 is 0
                assert len(np.unique(found, axis=0)) == 3


def test_a_number_that_is_not_finite_is_missing(ask):
    missing = [1.0, *[float("nan")] * 3, -2.0]
    check_that_they_are_missing(
        ask, with_prices(NOT_FINITE, False), with_prices(missing, False)
    )
    ids = with_prices(NOT_FINITE, True)["serving_default"]
    zeros = with_prices([1.0, 0, 0, 0, -2.0], True)["serving_default"]
    check_that_they_are_missing(ask, {"transformed": ids}, {"transformed": zeros})


def test_a_number_that_is_not_finite_is_missing_without_a_transform(model, tmp_path):
    tfmtl.export(model, tmp_path / "m", fused_score=WEIGHTS)
    signatures = with_prices(NOT_FINITE, True)
    zeros = with_prices([1.0, 0, 0, 0, -2.0], True)
    with asking(tmp_path / "m") as ask:
        check_that_they_are_missing(
            ask,
            {**signatures, "transformed": signatures["serving_default"]},
            {**zeros, "transformed": zeros["serving_default"]},
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"price": RAW["price"][:1]}, r"rank: price must have one value a candidate\."),
        ({"user": RAW["user"][:2]}, "rank: user .* or one for all. Received values"),
    ],
)
def test_rank_refuses_other_numbers_of_values(ask, changed, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask("rank", **{**RAW, **changed})


@contextlib.contextmanager
def serving(folder):
    """Gives a function as `asking` does, which no shape is held against either."""
    servable = Servable(folder)

    def ask(name, **inputs):
        return servable.run(servable.signature(name), inputs)

    yield ask
    servable.close()


@pytest.mark.parametrize("signature", ["serving_default", "rank", "transformed"])
def test_of_a_longer_list_the_last_values_count_and_a_shorter_is_padded(
    exported, signature
):
    given = {**IDS, "user": np.arange(4)} if signature == "transformed" else RAW
    lists = given["seen"]
    longer = np.concatenate([lists[:, :2], lists], axis=1)
    shorter = lists[:, :2]
    padded = np.concatenate([shorter, lists[3:, :1].repeat(4, axis=0)], axis=1)
    with serving(exported) as ask:
        # Row 0 of ids ends with one that is unknown, which is 0 as what is missing.
        last = lists if signature != "transformed" else longer[:, 1:4]
        same(
            ask(signature, **{**given, "seen": longer}),
            ask(signature, **{**given, "seen": last}),
        )
        behind = np.concatenate([longer, padded[2:].repeat(2, axis=0)], axis=1)
        same(
            ask(signature, **{**given, "seen": behind}),
            ask(signature, **{**given, "seen": last}),
        )
        found = ask(signature, **{**given, "seen": shorter})
        same(found, ask(signature, **{**given, "seen": padded}))


def test_a_vector_of_another_width_is_refused(tmp_path):
    features = [tfmtl.Vector("cover", 4)]
    model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("click")])
    tfmtl.export(model, tmp_path / "m")
    message = r"cover must have 4 numbers a row. Received:\] \[3\]"
    with serving(tmp_path / "m") as ask:
        for signature in ("serving_default", "rank", "transformed"):
            with pytest.raises(ServingError, match=message):
                ask(signature, cover=np.zeros((2, 3), np.float32))


def test_the_apis_are_named(exported):
    proto = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signatures = proto.meta_graphs[0].signature_def
    methods = {name: s.method_name.rpartition("/")[2] for name, s in signatures.items()}
    del methods["__saved_model_init_op"]
    assert methods == {
        **dict.fromkeys(
            ["serving_default", "examples", "rank", "transformed"], "predict"
        ),
        "classify": "classify",
        "regress": "regress",
    }
    shape = signatures["serving_default"].inputs["seen"].tensor_shape
    assert [dim.size for dim in shape.dim] == [-1, 3]  # fixed: a server may not pad


def test_a_table_is_an_op_of_the_graph(exported):
    """A server would inline a function a table, in each signature: for seconds."""
    proto = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    made = [node for node in graph.node if node.op == "HashTableV2"]
    assert [node.attr["value_dtype"].type for node in made] == [
        tf.int64.as_datatype_enum
    ]
    calls = [n for n in graph.node if n.op.endswith("PartitionedCall")]
    assert calls and all(call.input for call in calls)


def test_loads_without_tfmtl_and_holds_no_absolute_path(exported, tmp_path):
    moved = tmp_path / "elsewhere"
    exported.rename(moved)  # no path of the first place may be needed
    try:
        for file in moved.rglob("*"):
            if file.is_file():
                assert b"export-7a3" not in file.read_bytes(), file
                assert b"/tmp/" not in file.read_bytes(), file
        code = (
            "import sys\n"
            "for name in ('tfmtl', 'pipeline', 'serving', 'keras'):\n"
            "    sys.modules[name] = None\n"
            "import tensorflow as tf\n"
            "model = tf.saved_model.load(sys.argv[1])\n"
            "for name, signature in model.signatures.items():\n"
            "    inputs = signature.structured_input_signature[1]\n"
            "    zeros = {key: tf.zeros([1, *spec.shape[1:]], spec.dtype)\n"
            "             for key, spec in inputs.items()}\n"
            "    print(name, sorted(signature(**zeros)))\n"
        )
        command = [sys.executable, "-c", code, str(moved)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        moved.rename(exported)
    assert done.returncode == 0, done.stderr
    assert "rank ['click', 'like', 'score', 'seconds']" in done.stdout
    assert len(done.stdout.splitlines()) == 6


def test_the_card_tells_what_the_model_takes_and_gives(exported):
    card = model_card.read(exported)
    assert card["model"]["architecture"] == "mmoe"
    assert [task["name"] for task in card["tasks"]] == ["click", "like", "seconds"]
    assert card["tasks"][1]["space"] == "click" and card["tasks"][1]["range"] == [0, 1]
    missing = {
        f["name"]: (f["type"], f["shape"], f["missing"]) for f in card["features"]
    }
    assert missing == {
        "user": ("string", [], ""),
        "item": ("string", [], ""),
        "price": ("float32", [], "NaN"),
        "seen": ("string", [3], ""),
    }
    assert card["rank"]["user_features"] == ["user", "seen"]
    assert card["rank"]["fused_score"] == {"form": "product", "weights": WEIGHTS}
    assert set(card["signatures"]["rank"]) == set(RAW)
    assert json.dumps(card)


def test_sum_of_some_tasks_without_a_transform(model, tmp_path):
    weights = {"click": 2.0, "seconds": -0.25}
    tfmtl.export(
        model, tmp_path / "m", fused_score=weights, fused_form="sum",
        rank_outputs=["score"],
    )  # fmt: skip
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    inputs = {"user": np.array([1]), **IDS}  # whatever is given once is tiled
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    (score,) = loaded.signatures["rank"](**tensors).values()
    outputs = model({**inputs, "user": np.array([1] * 4)})
    wanted = 2 * outputs["click"] - 0.25 * outputs["seconds"]
    np.testing.assert_allclose(score, wanted, rtol=1e-5)
    # A number that an example lacks is the mean, 0.
    empty = loaded.signatures["examples"](examples=tf.constant([b""]))
    zeros = {"user": [0], "item": [0], "price": [0.0], "seen": [[0] * 3]}
    wanted = model({name: np.array(value) for name, value in zeros.items()})
    same(
        {k: v.numpy() for k, v in empty.items()},
        {k: v.numpy() for k, v in wanted.items()},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fused_score": {"clik": 1.0}}, "fused_score.*'clik'.*click"),
        ({"fused_score": {}}, "needs a task's weight"),
        ({"fused_score": {"click": float("nan")}}, "finite. Received: click=nan"),
        ({"fused_score": {"click": 1.0}, "fused_form": "mean"}, "fused_form"),
        ({"rank_outputs": ["score"]}, "rank_outputs"),
        ({"user_features": ["use"]}, "user_features.*'use'.*user"),
    ],
)
def test_wrong_arguments(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        tfmtl.export(model, tmp_path / "m", **arguments)
    assert not (tmp_path / "m").exists()


def test_a_task_called_score(tmp_path):
    tasks = [
        tfmtl.Task("score"),
        tfmtl.Task("a", kind="count"),
        tfmtl.Task("b", kind="count"),
    ]
    model = tfmtl.models.get("shared_bottom")(features=FEATURES, tasks=tasks)
    with pytest.raises(ValueError, match="a task of that name"):
        tfmtl.export(model, tmp_path / "m", fused_score={"score": 1.0})
    tfmtl.export(model, tmp_path / "m")
    names = tf.saved_model.load(str(tmp_path / "m")).signatures
    assert {"regress_a", "regress_b"} <= set(names) and "regress" not in names


class Known(keras.layers.Layer):
    """A bottom that looks a number up in a table."""

    def __init__(self):
        super().__init__()
        self.tasks = ["click"]
        self.table = keras.layers.IntegerLookup(vocabulary=[5, 7])
        self.bottom = tfmtl.layers.SharedBottom(self.tasks, (4,))

    def call(self, x, training=None):
        ids = self.table(keras.ops.cast(x, "int64"))
        return self.bottom(keras.ops.cast(ids, x.dtype))


def test_a_table_of_a_layer_of_ones_own_is_exported_also_after_a_schedule(tmp_path):
    model = tfmtl.MultiTaskModel([tfmtl.Numeric("x")], [TASKS[0]], Known())
    adam = tfmtl.optimizers.LazyAdam()
    model.compile(tfmtl.optimizers.scheduled(adam, "cosine", 1, steps_per_epoch=2))
    tfmtl.export(model, tmp_path / "m")
    inputs = {"x": tf.constant([5.0, 7.0, 8.0])}
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    found = loaded.signatures["serving_default"](**inputs)["click"]
    np.testing.assert_allclose(found, model(inputs)["click"], rtol=1e-5)
    assert len(np.unique(found)) == 3


def test_nothing_is_traced_twice(tmp_path, monkeypatch):
    model = tfmtl.models.get("shared_bottom")(FEATURES, TASKS)
    traced = []

    def watch(owner, name):
        function = getattr(owner, name)

        def watched(*args, **kwargs):
            traced.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(tfmtl.models.SharedBottom, "call")
    watch(example_parsing, "parse")
    tfmtl.export(model, tmp_path / "m")
    assert sorted(traced) == ["call", "parse"]


def test_tables_of_two_models_in_a_process_are_apart(model, tmp_path):
    loaded = []
    for number, item in enumerate(("i1", "i9")):
        folder = tmp_path / str(number)
        folder.mkdir()
        tf.saved_model.save(Transform(folder, [item]), str(folder / "transform"))
        tfmtl.export(model, folder / "m", folder / "transform")
        loaded.append(tf.saved_model.load(str(folder / "m")))
    raw = {name: tf.constant(value) for name, value in RAW.items()}
    for number, first in enumerate([1, 0]):  # only the first knows i1
        item = np.array([first, 0, 0, 0])
        seen = np.where(RAW["seen"] == b"i1", first, 0)
        user = tf.strings.to_hash_bucket_fast(RAW["user"].astype("S"), 4)
        wanted = model(
            {"user": user, "price": IDS["price"], "item": item, "seen": seen}
        )
        found = loaded[number].signatures["serving_default"](**raw)
        np.testing.assert_allclose(found["click"], wanted["click"], rtol=1e-5)
