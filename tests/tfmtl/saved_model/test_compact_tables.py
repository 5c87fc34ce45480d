"""Tables of an exported model in two bytes a number, or one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.saved_model.compact_tables import read_variable

ITEM = tfmtl.Categorical("item", vocabulary_size=400, embedding_dim=8)
FEATURES = [
    ITEM,
    tfmtl.Categorical("user", num_buckets=300, num_hashes=2, embedding_dim=4),
    tfmtl.Categorical("query", capacity=9, embedding_dim=4),
    tfmtl.Sequence("seen", of="item", max_length=3, encoder="target_attention"),
]
INPUTS = {
    "item": np.array([1, 399, 0]),
    "user": np.array([5, 10**12, 0]),
    "query": np.array([7, 8, 0]),
    "seen": np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0]]),
}


def _model():
    keras.utils.set_random_seed(2)
    model = tfmtl.models.get("shared_bottom")(FEATURES, [tfmtl.Task("a")], units=(8,))
    for name in ("item", "user"):
        table = model.embedding.table(name)
        table *= np.random.default_rng(0).uniform(0, 30, (len(table), 1))
        table[2] = 0
        model.embedding.set_table(name, table)
    return model


@pytest.mark.parametrize(("dtype", "off"), [("bfloat16", 2**-8), ("int8", 1 / 254)])
def test_rounded_numbers_are_near_what_they_were(dtype, off):
    model = _model()
    before = model.embedding.table("item")
    others = [w.numpy() for w in model.weights if "table_" not in w.path]
    tfmtl.round_tables(model, dtype)
    after = model.embedding.table("item")
    size = np.abs(before) if dtype == "bfloat16" else np.abs(before).max(1)[:, None]
    assert (np.abs(after - before) <= off * size * 1.001).all()
    assert 0.2 * off < np.max(np.abs(after - before) / np.maximum(size, 1e-9)) <= off
    np.testing.assert_array_equal(after[2], 0)
    if dtype == "int8":  # by hand, and at most 255 different numbers in a row
        scale = np.abs(before[5]).max() / np.float32(127)
        np.testing.assert_allclose(after[5], np.round(before[5] / scale) * scale)
    found = [w.numpy() for w in model.weights if "table_" not in w.path]
    for one, other in zip(others, found, strict=True):
        np.testing.assert_array_equal(one, other)
    tfmtl.round_tables(model, dtype)
    np.testing.assert_allclose(model.embedding.table("item"), after, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("int8", 1)])
def test_a_model_of_compact_tables_serves_what_the_rounded_one_predicts(
    dtype, size, tmp_path
):
    model = _model()
    exact = model.predict(INPUTS, verbose=0)["a"]
    tfmtl.round_tables(model, dtype)
    wanted = model.predict(INPUTS, verbose=0)["a"]
    assert np.abs(wanted - exact).max() > 1e-6
    tfmtl.export(model, tmp_path / "m", tables=dtype)
    np.testing.assert_array_equal(model.predict(INPUTS, verbose=0)["a"], wanted)
    served = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    found = served(**{name: tf.constant(values) for name, values in INPUTS.items()})
    np.testing.assert_allclose(found["a"], wanted, rtol=1e-5)
    reader = tf.train.load_checkpoint(str(tmp_path / "m" / "variables" / "variables"))
    (layer,) = (x for x in model._flatten_layers() if isinstance(x, FeatureEmbedding))
    for table in layer.tables.values():
        number = next(i for i, v in enumerate(model.variables) if v is table)
        read = read_variable(reader, f"variables/{number}")
        np.testing.assert_allclose(read, table.numpy(), rtol=1e-6)
    shapes, types = (
        reader.get_variable_to_shape_map(),
        reader.get_variable_to_dtype_map(),
    )
    kept = {n: types[n].size * np.prod(shapes[n]) for n in shapes if "/values/" in n}
    assert sum(kept.values()) == size * sum(
        np.prod(table.shape) for table in layer.tables.values()
    )


def test_unknown_types_are_refused(tmp_path):
    model = _model()
    with pytest.raises(ValueError, match="tables.*'int4'.*int8"):
        tfmtl.export(model, tmp_path / "m", tables="int4")
    with pytest.raises(ValueError, match="type of tables.*'int4'"):
        tfmtl.round_tables(model, "int4")
