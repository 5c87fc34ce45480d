"""Signatures that are none of classification or regression are refused by name."""

import pytest
import tensorflow as tf

from serving.errors import Code, ServingError
from serving.models.inference import classify, regress
from serving.models.servable import Servable

_SPEC = tf.TensorSpec([None], tf.string, "inputs")


def _two(make):
    """A signature whose outputs `make` computes from the number of examples."""
    return tf.function(lambda inputs: make(tf.size(inputs)), input_signature=[_SPEC])


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A SavedModel with faulty signatures."""
    module = tf.Module()
    module.variable = tf.Variable(0.0)  # a SavedModel has variables/ only with one
    signatures = {
        "flat": _two(lambda n: {"scores": tf.ones([n])}),
        "double": _two(lambda n: {"scores": tf.ones([n, 2], tf.float64)}),
        "long": _two(lambda n: {"scores": tf.ones([n + 1, 2])}),
        "numbers": _two(lambda n: {"classes": tf.ones([n, 2], tf.int64)}),
        "uneven": _two(
            lambda n: {"scores": tf.ones([n, 2]), "classes": tf.fill([n, 3], "a")}
        ),
        "three": _two(lambda n: dict.fromkeys("abc", tf.ones([n]))),
        "wide": _two(lambda n: {"outputs": tf.ones([n, 2])}),
        "much": _two(lambda n: {"outputs": tf.ones([n + 2])}),
        "double_value": _two(lambda n: {"outputs": tf.ones([n, 1], tf.float64)}),
        "other": tf.function(
            lambda x: {"outputs": x + 1.0},
            input_signature=[tf.TensorSpec([None], name="x")],
        ),
    }
    path = tmp_path_factory.mktemp("odd")
    tf.saved_model.save(module, str(path), signatures=signatures)
    return Servable(path)


@pytest.mark.parametrize(
    "ask, name, message",
    [
        (classify, "flat", "Tensor shape: [batch_size num_classes] but got [2]"),
        (classify, "double", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        (classify, "numbers", "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        (classify, "long", "Expected scores output batch size of 2. Got: 3"),
        (classify, "uneven", "should match in dim_size(1). Got 3 vs. 2"),
        (classify, "three", "Expected one or two output Tensors, found 3"),
        (classify, "wide", 'contain at least one of "classes" or "scores". Signature'),
        (classify, "other", "No classification inputs found in SignatureDef: inputs"),
        (classify, "__saved_model_init_op", "Expected one input Tensor."),
        (classify, "nope", "No signature was found with the name: nope"),
        (regress, "flat", "No regression outputs found in SignatureDef: inputs"),
        (regress, "wide", "[batch_size] or [batch_size, 1] but got [2,2]"),
        (regress, "much", "did not match output batch size: 2 vs. 4"),
        (
            regress,
            "double_value",
            "output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ),
        (regress, "three", "Expected one output Tensor."),
        (regress, "other", "No regression inputs found in SignatureDef: inputs"),
        (regress, "", "No signature was found with the name: serving_default"),
    ],
)
def test_signatures_of_another_kind(odd, ask, name, message):
    with pytest.raises(ServingError) as caught:
        ask(odd, name, [b"", b""])
    assert message in caught.value.message
    failed_precondition = " in SignatureDef" in message or "Signature" in message[-9:]
    code = Code.FAILED_PRECONDITION if failed_precondition else Code.INVALID_ARGUMENT
    assert caught.value.code is code
