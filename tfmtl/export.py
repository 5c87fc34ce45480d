"""From a trained model to a SavedModel that TF Serving serves."""

import os

import keras
import tensorflow as tf

from tfmtl.models.base import MultiTaskModel


def export(
    model: MultiTaskModel,
    path: str | os.PathLike,
    transform: str | os.PathLike | None = None,
) -> None:
    """Writes one SavedModel that holds the transform graph and the model.

    Signatures, each with outputs {task: float32 (batch, 1)}:

    - `transformed`: what the model takes in, {feature: ids or numbers}.
    - `serving_default`: with `transform`, raw features as they stand in the logs;
      without, the same as `transformed`.
    - `examples`: with `transform`, serialized `tf.Example`s of raw features, where
      missing ones may be left out.

    Args:
        model: A built model.
        path: Folder to write.
        transform: Folder of a SavedModel with a function
            `transform({raw name: tensor}) -> {feature: tensor}`, such as the pipeline's
            Transform writes. Defaults to none: raw features are model inputs.

    Raises:
        ValueError: If the transform does not give every feature of the model.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)

    model_specs = {
        f.name: tf.TensorSpec((None, *f.shape), f.dtype, f.name) for f in model.features
    }

    # One function, so that the model is traced once and not for each signature.
    @tf.function(input_signature=[model_specs])
    def predict(inputs):
        outputs = model(inputs, training=False)
        return {name: tf.cast(output, "float32") for name, output in outputs.items()}

    predict.get_concrete_function()
    archive.add_endpoint("transformed", predict)
    if transform is None:
        archive.add_endpoint("serving_default", predict)
    else:
        graph = tf.saved_model.load(os.fspath(transform))
        raw_specs = _raw_specs(graph, model)
        archive.track(graph)

        def predict_raw(inputs):
            transformed = graph.transform(inputs)
            return predict({name: transformed[name] for name in model_specs})

        def predict_examples(examples):
            return predict_raw(_parse(examples, raw_specs))

        archive.add_endpoint("serving_default", predict_raw, [raw_specs])
        archive.add_endpoint(
            "examples", predict_examples, [tf.TensorSpec([None], tf.string, "examples")]
        )
    archive.write_out(os.fspath(path), verbose=False)


def _raw_specs(graph, model) -> dict[str, tf.TensorSpec]:
    """Returns what the transform takes in; raises if it does not fit the model."""
    (function,) = graph.transform.concrete_functions
    ((specs,), _) = function.structured_input_signature
    missing = {f.name for f in model.features} - set(function.structured_outputs)
    if missing:
        raise ValueError(
            "The transform must give every feature of the model. It gives "
            f"{sorted(function.structured_outputs)}, but not {sorted(missing)}."
        )
    return {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in specs.items()
    }


def _parse(examples, raw_specs) -> dict[str, tf.Tensor]:
    """Parses serialized `tf.Example`s of raw features; what is left out is missing."""
    parsing = {}
    for name, spec in raw_specs.items():
        if spec.shape.rank == 1:
            missing = "" if spec.dtype == tf.string else float("nan")
            parsing[name] = tf.io.FixedLenFeature((), spec.dtype, missing)
        else:
            parsing[name] = tf.io.RaggedFeature(spec.dtype)
    raw = tf.io.parse_example(examples, parsing)
    for name, spec in raw_specs.items():
        if spec.shape.rank == 2:  # the latest values, padded behind
            length = spec.shape[1]
            raw[name] = raw[name][:, -length:].to_tensor("", shape=(None, length))
    return raw
