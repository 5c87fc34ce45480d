"""An exported model seen from outside: its signatures, its predictions for examples.

Nothing here knows how the model was made; what a server can read is enough.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.artifacts import examples, layout
from pipeline.config.features import (
    CategoricalFeature,
    Feature,
    NumericFeature,
    SequenceFeature,
    VectorFeature,
)
from pipeline.errors import PipelineError
from pipeline.storage import away, folders
from serving.release.publish import versions

DEFAULT = "serving_default"
RANK = "rank"
FUSED = "score"  # the output of `rank` that is made of several tasks
_GRAPH = "saved_model.pb"


def served(base_path: Path) -> Path | None:
    """The newest version under a model's base path; None where there is none."""
    return max(versions(folders.refresh(base_path)).items(), default=(0, None))[1]


def of_pipeline(destination: str) -> Path:
    """The newest version at `push.destination`.

    Raises:
        PipelineError: There is none.
    """
    model = served(Path(destination))
    if model is None:
        raise PipelineError(
            f"no model is served: {destination} (push.destination) has no version. Run "
            "the pipeline, or name a model: --model"
        )
    return model


def find(path: Path) -> Path:
    """The SavedModel that a folder is or holds.

    Args:
        path: A SavedModel; the artifact of a Trainer; or a model base path, of which
            the newest version counts.

    Raises:
        PipelineError: It is none of these.
    """
    folders.bring(path)
    newest = served(path) if path.is_dir() else None
    for folder in (path, path / layout.SERVING_MODEL, newest):
        if folder is not None and (folder / _GRAPH).is_file():
            return folder
    raise PipelineError(
        "a SavedModel is expected, or the folder of a Trainer's model, or one with "
        f"numbered versions. Received: {path}, which is none of these"
    )


def signatures(folder: Path) -> dict[str, Any]:
    """Reads {name: SignatureDef} of a SavedModel without loading its weights.

    Raises:
        PipelineError: There is no SavedModel, or it has no serving_default.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(folder) / _GRAPH
    if not path.is_file():
        raise PipelineError(
            f"a SavedModel is expected. Received: {folder}, which has no "
            f"{_GRAPH}. Export the model again"
        )
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    found = next(
        (
            dict(graph.signature_def)
            for graph in proto.meta_graphs
            if "serve" in graph.meta_info_def.tags
        ),
        {},
    )
    if DEFAULT not in found:
        raise PipelineError(
            f"a model to be served needs the signature {DEFAULT!r}. Received: "
            f"{sorted(found)} in {folder}. Export the model again"
        )
    return found


def features(folder: Path) -> list[Feature]:
    """The raw features that a SavedModel takes, told by the types of its inputs.

    A string (batch,) is categorical, a string (batch, n) a sequence of n items, a
    float (batch,) numeric, a float (batch, n) a vector.

    Raises:
        PipelineError: An input is none of these, or there is no such model.
    """
    import tensorflow as tf

    found: list[Feature] = []
    for name, info in sorted(signatures(folder)[DEFAULT].inputs.items()):
        dtype = tf.dtypes.as_dtype(info.dtype)
        shape = [dim.size for dim in info.tensor_shape.dim]
        if dtype == tf.string and len(shape) == 1:
            found.append(CategoricalFeature(kind="categorical", name=name))
        elif dtype == tf.string and len(shape) == 2 and shape[1] > 0:
            found.append(
                SequenceFeature(
                    kind="sequence", name=name, of=name, max_length=shape[1]
                )
            )
        elif dtype == tf.float32 and len(shape) == 1:
            found.append(NumericFeature(kind="numeric", name=name))
        elif dtype == tf.float32 and len(shape) == 2 and shape[1] > 0:
            found.append(VectorFeature(kind="vector", name=name, dim=shape[1]))
        else:
            raise PipelineError(
                "a raw input is a string or a float32, (batch,) or (batch, length). "
                f"Received: {name!r}, {dtype.name} {tuple(shape)}"
            )
    return found


def unreadable(folder: Path, schema: pa.Schema) -> list[str]:
    """Tells which features of a model the columns of `schema` cannot feed, and why."""
    fits = {
        "categorical": _is_string,
        "numeric": lambda t: pa.types.is_integer(t) or pa.types.is_floating(t),
        "sequence": lambda t: pa.types.is_list(t) and _is_string(t.value_type),
        "vector": lambda t: pa.types.is_list(t) and pa.types.is_floating(t.value_type),
    }
    problems = []
    for feature in features(folder):
        index = schema.get_field_index(feature.name)
        if index < 0:
            problems.append(f"column {feature.name!r} is missing")
        elif not fits[feature.kind](schema.types[index]):
            problems.append(
                f"column {feature.name!r} is {schema.types[index]}, not {feature.kind}"
            )
    return problems


def requests(
    folder: Path,
    raw: Mapping[str, np.ndarray],
    transformed: Mapping[str, np.ndarray],
    rows_of_others: int | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """A request for every signature of a SavedModel that takes the features.

    Args:
        folder: The SavedModel.
        raw: {raw feature: (rows, ...)}, as `arrow.raw_inputs` gives them.
        transformed: The same rows as the transform graph gives them.
        rows_of_others: How many rows any other signature than serving_default gets.
            Defaults to all.

    Returns:
        {signature: {input: array}}; `rank` takes each row's user.
    """
    from serving.models.examples import serialized

    first = {name: array[:rows_of_others] for name, array in raw.items()}
    found, records = {}, None
    for name, signature in signatures(folder).items():
        inputs = set(signature.inputs)
        if len(inputs) == 1 and inputs <= {"examples", "inputs"}:
            (key,) = inputs
            if records is None:  # they are not cheap to make
                records = np.array(list(serialized(first)), object)
            found[name] = {key: records}
        elif name == "transformed":
            found[name] = {key: a[:rows_of_others] for key, a in transformed.items()}
        elif inputs == set(raw):
            found[name] = dict(raw if name == DEFAULT else first)
    return found


def user_features(folder: Path) -> list[str]:
    """The raw features that `rank` takes once, as the model's card tells."""
    from tfmtl import model_card

    return model_card.read(folder).get("rank", {}).get("user_features") or []


class Scorer:
    """Calls a SavedModel on batches of examples.

    Args:
        folder: The SavedModel.
        names: The signatures that are called, which take the same raw features.
    """

    def __init__(self, folder: Path, names: Sequence[str] = (DEFAULT,)) -> None:
        import tensorflow as tf

        folder = away.fetch(folder)
        # The variables live as long as the loaded object, so it is kept.
        self._model = tf.saved_model.load(str(folder))
        self._calls = [self._model.signatures[name] for name in names]
        self.features = features(folder)

    def __call__(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        """Returns {output: (rows,)}, float32 of a task."""
        return self.predict(self.inputs(batch))

    def inputs(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """The tensors that the model takes in, {feature: (rows, ...)}."""
        import tensorflow as tf

        tensors = {}
        distinct = examples.distinct_inputs(batch, self.features)
        for name, (values, where) in distinct.items():
            # A tensor of strings is filled one by one; to copy its items is cheaper.
            tensor = tf.constant(values)
            tensors[name] = tensor if where is None else tf.gather(tensor, where)
        return tensors

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns {output: (rows,)} for such tensors."""
        found = {}
        for call in self._calls:
            found.update(call(**inputs))
        return {name: tensor.numpy().reshape(-1) for name, tensor in found.items()}


def _is_string(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)
