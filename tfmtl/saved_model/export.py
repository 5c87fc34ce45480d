"""From a trained model to a SavedModel that TF Serving serves."""

import itertools
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfmtl import _errors, model_card
from tfmtl.features import Vector, input_specs
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.sharding import check_whole
from tfmtl.saved_model import example_parsing, widths
from tfmtl.saved_model.compact_tables import compact_tables
from tfmtl.saved_model.rank import check_score, fuse, tile
from tfmtl.tasks import is_probability

_METHODS = {
    "classify": tf.saved_model.CLASSIFY_METHOD_NAME,
    "regress": tf.saved_model.REGRESS_METHOD_NAME,
}
_TABLE, _CALLS = "HashTableV2", ("PartitionedCall", "StatefulPartitionedCall")


def export(
    model: MultiTaskModel,
    path: str | os.PathLike,
    transform: str | os.PathLike | None = None,
    *,
    user_features: Sequence[str] | None = None,
    fused_score: Mapping[str, float] | None = None,
    fused_form: str = "product",
    rank_outputs: Sequence[str] | None = None,
    tables: str = "float32",
) -> None:
    """Writes one SavedModel that holds the transform graph and the model.

    Signatures, with outputs {task: float32 (batch, 1)} where nothing else is said, and
    {task_k: float32 (batch, 1)} of each class k of a task that has classes:

    - `serving_default`: raw features as they stand in the logs; without a transform,
      what the model takes in.
    - `examples`: input `examples`, serialized `tf.Example`s of the same features, where
      missing ones may be left out.
    - `rank`: one user and N candidates. A feature of the user, or of the request, is
      given once, (1,), and tiled in the graph; one of the candidates is (N,). With
      `fused_score`, another output `score` (N, 1) = prod_k p_k^w_k, or sum_k w_k p_k:
      PLE's eq. 1 without its f(video length).
    - `transformed`: what the model takes in, {feature: ids or numbers}.
    - `classify`: input `inputs`, as `examples`; outputs `classes` and `scores`, (batch,
      n): the names and the probabilities of the binary tasks, and of the classes of
      tasks that have some. Only if there are any.
    - `regress`: input `inputs`; output `outputs` (batch, 1), the value of the task that
      is not binary. Where several are not, each has a `regress_{task}`.

    The two last are for the APIs of the same name. `assets.extra/model_card.json` tells
    what the model takes and gives; see `tfmtl.model_card`. No warm-up requests are
    written: `python -m serving warmup PATH` adds one for every signature.

    Args:
        model: A built model.
        path: Folder to write.
        transform: Folder of a SavedModel with a function
            `transform({raw name: tensor}) -> {feature: tensor}`, such as the pipeline's
            Transform writes. Where it is also there under the name `transform_each`,
            each feature is made of the raw one of its name alone, and `rank` transforms
            a user's once. Defaults to none: raw features are model inputs.
        user_features: Names of the raw features that `rank` takes once, all others
            being the candidates' own. Defaults to whatever a request gives once.
        fused_score: {task, or task_k for class k: weight} of the output `score`.
            Defaults to no such output.
        fused_form: "product" or "sum". A negative value of a regression counts as 0
            in a product. Defaults to "product".
        rank_outputs: Names of the outputs of `rank`. Fewer make shorter answers: over
            REST, 500 candidates times 6 tasks are 40 kB. Defaults to all.
        tables: How numbers of embedding tables are kept: "float32", "bfloat16" in half
            of the memory, or "int8" in a quarter and 4 bytes a row, see `round_tables`.
            Defaults to "float32".

    Raises:
        ValueError: If the transform does not give every feature of the model, or an
            argument names a task, feature or output that there is none of.

    References:
        - [Progressive Layered Extraction, Tang et al., 2020](
          https://dl.acm.org/doi/10.1145/3383313.3412236)
    """
    check_whole(model)
    check_score(model.tasks, fused_score, fused_form)
    with compact_tables(model, tables) as compact:
        # What a signature needs must be tracked.
        saved = tf.train.Checkpoint(
            variables=[compact.get(id(v), v.value) for v in model.variables],
            tables=_tables(model),
        )
        model_specs = {
            name: tf.TensorSpec((None, *shape), dtype, name)
            for name, (shape, dtype) in input_specs(model.features).items()
        }

        missing = {tf.string: "", tf.float32: float("nan")}
        vectors = [f.name for f in model.features if isinstance(f, Vector)]

        # One function, so that the model is traced once and not for each signature.
        @_traced(model_specs)
        def predict(inputs):
            inputs = widths.fit(inputs, model_specs, missing, model.features)
            outputs = model(inputs, training=False)
            return {
                name: tf.cast(output, "float32") for name, output in outputs.items()
            }

        predict_raw, raw_specs, each_alone = predict, model_specs, False
        if transform is not None:
            graph = tf.saved_model.load(os.fspath(transform))
            raw_specs = _raw_specs(graph, model)
            own = {f.name for f in model.features}
            each_alone = hasattr(graph, "transform_each") and set(raw_specs) == own
            saved.transform_tables = _tables(graph)

            @_traced(raw_specs)
            def predict_raw(inputs):
                fitted = widths.fit(inputs, raw_specs, missing, model.features)
                transformed = graph.transform(fitted)
                return predict({name: transformed[name] for name in model_specs})

        names = [name for task in model.tasks for name in task.outputs]
        outputs = [*names, "score"] if fused_score else names
        for name in rank_outputs or ():
            _errors.check_choice("A name in rank_outputs", name, outputs)
        for name in user_features or ():
            _errors.check_choice("A name in user_features", name, raw_specs)

        once = user_features and [  # and what the transform makes beside them
            name
            for feature in model.features
            if feature.name in user_features
            for name in input_specs([feature])
        ]

        @_traced(raw_specs)
        def rank(inputs):
            inputs = widths.fit(inputs, raw_specs, missing, model.features)
            if each_alone:  # A user's features are transformed once and not N times.
                transformed = graph.transform(inputs)
                inputs = {name: transformed[name] for name in model_specs}
                found = predict(tile(inputs, once))
            else:
                given = once if transform is None else user_features
                found = predict_raw(tile(inputs, given))
            if fused_score:
                found["score"] = fuse(found, fused_score, fused_form)
            return {name: found[name] for name in rank_outputs or outputs}

        @_traced(tf.TensorSpec([None], tf.string, "examples"))
        def predict_examples(examples):
            parsed = example_parsing.parse(examples, raw_specs, missing, vectors)
            return predict_raw(parsed)

        probable = [n for t in model.tasks for n in t.outputs if is_probability(t, n)]
        others = [name for name in names if name not in probable]
        serialized = tf.TensorSpec([None], tf.string, "inputs")

        def classify(inputs):
            found = predict_examples(inputs)
            scores = tf.concat(
                [found[name] for name in probable], axis=1
            )  # (B, probable)
            classes = tf.broadcast_to(tf.constant([probable]), tf.shape(scores))
            return {"classes": classes, "scores": scores}

        def regress(name):
            return lambda inputs: {"outputs": predict_examples(inputs)[name]}

        endpoints = {
            "serving_default": predict_raw,
            "examples": predict_examples,
            "rank": rank,
            "transformed": predict,
        }
        if probable:
            endpoints["classify"] = _traced(serialized)(classify)
        for name in others:
            key = "regress" if len(others) == 1 else f"regress_{name}"
            endpoints[key] = _traced(serialized)(regress(name))
        tf.saved_model.save(saved, os.fspath(path), signatures=endpoints)
        _finish(Path(path), endpoints)
        model_card.write(
            path,
            model_card.describe(model, raw_specs, missing, endpoints)
            | {
                "rank": {
                    "user_features": user_features and list(user_features),
                    "fused_score": fused_score
                    and {"form": fused_form, "weights": dict(fused_score)},
                    "outputs": list(rank_outputs or outputs),
                }
            },
        )


def _traced(specs):
    """Makes a function of tensors its graph.

    A `tf.function` would be traced again while it is saved, and so would be all that
    it calls.
    """

    def trace(function):
        return tf.function(function, autograph=False).get_concrete_function(specs)

    return trace


class _View(tf.train.TrackableView):
    """Leaves out what lies in a list that has changed, which TensorFlow cannot save.

    So has an optimizer's list of variables, once a schedule replaced its rate.
    """

    @classmethod
    def children(cls, obj, *args, **kwargs):
        try:
            return super().children(obj, *args, **kwargs)
        except ValueError:
            return {}


def _tables(root) -> list:
    """Returns the lookup tables of a model or a transform graph."""
    return [
        part
        for part in _View(root).descendants()
        if isinstance(part, tf.saved_model.experimental.TrackableResource)
    ]


def _raw_specs(graph, model) -> dict[str, tf.TensorSpec]:
    """Returns what the transform takes in; raises if it does not fit the model."""
    (function,) = graph.transform.concrete_functions
    ((specs,), _) = function.structured_input_signature
    missing = set(input_specs(model.features)) - set(function.structured_outputs)
    if missing:
        raise ValueError(
            "The transform must give every feature of the model. It gives "
            f"{sorted(function.structured_outputs)}, but not {sorted(missing)}."
        )
    return {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in specs.items()
    }


def _finish(path: Path, endpoints: Mapping) -> None:
    """Edits what Keras wrote: APIs by name, tables by ops, no trace of the machine.

    A server may insist on the API that a `classify` or `regress` signature is for. A
    lookup table is shared under the absolute path of the file it was first read from.
    """
    file = path / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    # {name with a path: one that no other model in the process has}
    shared: dict[bytes, bytes] = {}
    model_id = uuid.uuid4().hex
    for graph in proto.meta_graphs:
        _make_tables(graph.graph_def)
        for name, signature in graph.signature_def.items():
            if name in endpoints and (method := _METHODS.get(name.split("_")[0])):
                signature.method_name = method
        functions = [f.node_def for f in graph.graph_def.library.function]
        for node in itertools.chain(graph.graph_def.node, *functions):
            name = node.attr["shared_name"].s if "shared_name" in node.attr else b""
            if b"/" in name:
                plain = f"table_{model_id}_{len(shared)}".encode()
                node.attr["shared_name"].s = shared.setdefault(name, plain)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _make_tables(graph: GraphDef) -> None:
    """Makes lookup tables by an op instead of a function that does nothing else.

    Of a loaded transform, TensorFlow saves a call of such a function for each table. A
    server inlines all of them in each signature, which takes it seconds.
    """
    functions = {f.signature.name: f.node_def for f in graph.library.function}

    def table(node: NodeDef) -> NodeDef | None:
        if node.op == _TABLE:
            return node
        if node.op not in _CALLS or any(name[0] != "^" for name in node.input):
            return None
        body = functions[node.attr["f"].func.name]
        made = [inner for inner in body if inner.op not in ("Identity", "NoOp")]
        return table(made[0]) if len(made) == 1 else None

    for node in graph.node:
        made = table(node)
        if made is not None and made is not node:
            node.op = made.op
            node.ClearField("attr")
            node.attr.MergeFrom(made.attr)
