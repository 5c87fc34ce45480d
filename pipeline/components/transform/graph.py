"""The transform graph: raw features -> what a model takes in, as one SavedModel.

The same graph prepares the training data and serves inside the exported model, so
that the two cannot differ. Missing values and the number of ids:

| feature                     | raw                | transformed        | ids          |
|-----------------------------|--------------------|--------------------|--------------|
| categorical                 | string, "" missing | int64, 0 missing   | values + 1   |
| categorical, `hash_buckets` | string, "" missing | int64, 0 missing   | hash_buckets |
| ... with several hashes     | string, "" missing | int64, 0 missing   | 2^62         |
| categorical, `capacity`     | string, "" missing | int64, 0 missing   | 2^62         |
| numeric                     | float, NaN missing | float, 0.0 missing |              |
| ... `piecewise_linear`, or  |                    |                    |              |
|     `autodis`               | float, NaN missing | float, NaN missing |              |
| numeric, `buckets`          | float, NaN missing | int64, 0 missing   | buckets + 1  |
| sequence                    | string, "" padding | int64, 0 padding   | those of `of`|
| numeric_sequence            | string, "" missing | as of numeric      |              |
| multivalued                 | string, "" padding | int64, 0 padding   | of its table |
| ... weighted                | "value:weight"     | and float weights  |              |
| crossed                     | of other features  | int64, 0 missing   | hash_buckets |
| lookup                      | "value:number"     | float, 0.0 missing |              |
| vector                      | float, NaN missing | the same           |              |

Strings are first made the texts that training knows; see `text_graph`.
All are (batch,), a list is (batch, max_length), a vector (batch, dim). A value that
the vocabulary lacks has id 0, like a missing one, or with `oov_buckets` an id behind
the vocabulary's. Of 2^62 ids the model makes rows of a table.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

import tfmtl
from pipeline.artifacts import layout
from pipeline.components.transform import text_graph, vocabulary
from pipeline.components.transform.vocabulary import Vocabulary
from pipeline.config.data import MISSING_WORDS
from pipeline.config.features import (
    CategoricalFeature,
    CrossedFeature,
    Feature,
    NumericFeature,
    NumericSequenceFeature,
    VocabularyConfig,
    each_alone,
    input_names,
    weights_name,
)
from pipeline.errors import PipelineError

_MANY = 2**62


class TransformGraph:
    """One function, `transform({name: raw}) -> {name: tensor}`, and what it needs.

    Args:
        features: The `features` section of a config.
        vocabularies: {table: vocabulary} of the categorical features that have one.
        moments: {numeric feature: statistics of the train split}.
        missing: The texts that stand for no value, beside the empty one.
        verbatim: The features whose texts count as they are written.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        vocabularies: Mapping[str, Vocabulary],
        moments: Mapping[str, Mapping],
        missing: Sequence[str] = MISSING_WORDS,
        verbatim: Collection[str] = (),
    ):
        self._features = {feature.name: feature for feature in features}
        self._vocabularies = vocabularies
        self._moments = moments
        self._missing = missing
        numbers = [f.name for f in features if f.kind == "numeric_sequence"]
        self._read = [
            name
            for name, spec in raw_specs(features).items()
            if spec.dtype == tf.string and name not in {*verbatim, *numbers}
        ]
        self.transform = tf.function(
            self._transform, input_signature=[raw_specs(features)], autograph=False
        )

    def save(self, path: Path) -> None:
        """Saves the function, and no more, as a SavedModel."""
        module = tf.Module()
        module.transform = self.transform
        if each_alone(self._features.values()):  # as `tfmtl.export` is to know
            module.transform_each = self.transform
        # What a SavedModel must hold has to be reachable by attributes.
        module.tables = [v.table for v in self._vocabularies.values()]
        tf.saved_model.save(module, str(path))

    def _transform(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs, numbers = {}, {}
        for name, feature in self._features.items():
            if weights := weights_name(feature):
                values, outputs[weights] = text_graph.weighted(raw[name])
                raw = {**raw, name: values}
            elif feature.kind == "lookup":
                keys, numbers[name] = text_graph.weighted(raw[name], of_map=True)
                raw = {**raw, name: keys}
            elif feature.kind == "numeric_sequence":
                raw = {**raw, name: text_graph.numbers(raw[name])}
        texts = {name: raw[name] for name in self._read}
        raw = {**raw, **text_graph.canonical(texts, self._missing)}
        scaled = [f for f in self._features.values() if _is_scaled(f)]
        lists = [f.name for f in scaled if f.kind == "numeric_sequence"]
        flat = {name: tf.reshape(raw[name], [-1]) for name in lists}
        outputs |= _scaled(scaled, raw | flat, self._moments)
        for name in lists:
            outputs[name] = tf.reshape(outputs[name], tf.shape(raw[name]))
        for name, feature in self._features.items():
            if name in outputs:
                continue
            if feature.kind == "numeric":
                outputs[name] = _bucket(feature, raw[name], self._moments[name])
            elif feature.kind == "sequence":
                outputs[name] = self._ids(self._features[feature.of], raw[name])
            elif feature.kind == "vector":
                outputs[name] = raw[name]
            elif feature.kind == "crossed":
                outputs[name] = self._crossed(feature, raw)
            elif feature.kind == "lookup":
                found = _looked_up(raw[feature.key], raw[name], numbers[name])
                logarithm = tf.math.log1p(tf.maximum(found, 0.0))
                outputs[name] = logarithm if feature.scaling == "log1p" else found
            else:
                outputs[name] = self._ids(feature, raw[name])
        return {
            name: outputs[name]
            for feature in self._features.values()
            for name in input_names(feature)
        }

    def _ids(self, feature: CategoricalFeature, values: tf.Tensor) -> tf.Tensor:
        if feature.by_vocabulary:
            known = self._vocabularies[feature.table_name]
            ids = known.lookup(values)
            if feature.oov_buckets:
                others = tf.strings.to_hash_bucket_fast(values, _MANY)
                unknown = (ids == 0) & (values != "")
                ids = tf.where(unknown, known.size + others, ids)
            return ids
        one_row = feature.hash_buckets and feature.num_hashes == 1
        buckets = feature.hash_buckets if one_row else _MANY
        ids = 1 + tf.strings.to_hash_bucket_fast(values, buckets - 1)
        return tf.where(values == "", tf.zeros_like(ids), ids)

    def _crossed(
        self, feature: CrossedFeature, raw: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The hash of other features' values together; 0 where one is missing."""
        parts = []
        for name in feature.of:
            part, of = raw[name], self._features[name]
            if of.kind == "numeric":
                bucket = _bucket(of, part, self._moments[name])
                part = tf.where(bucket == 0, "", tf.as_string(bucket))
            parts.append(part)
        values = tf.strings.join(parts, "\x1f")
        ids = 1 + tf.strings.to_hash_bucket_fast(values, feature.hash_buckets - 1)
        known = tf.reduce_all(tf.stack(parts) != "", axis=0)
        return tf.where(known, ids, tf.zeros_like(ids))

    def edges(self, name: str) -> np.ndarray:
        """Where a numeric feature with `buckets` is cut."""
        return bucket_edges(self._features[name], self._moments[name])

    def describe(self) -> dict[str, dict]:
        """What each feature is for the model.

        `size` counts the ids of a vocabulary and the rows of other tables, with 0;
        `boundaries` are those of a scaled number.
        """
        described = {}
        for name, feature in self._features.items():
            if feature.kind == "sequence":
                of, length = feature.of, feature.max_length
                described[name] = {"kind": "sequence", "of": of, "max_length": length}
            elif feature.kind == "vector":
                described[name] = {"kind": "vector", "dim": feature.dim}
            elif getattr(feature, "piecewise_linear", None):
                found = _boundaries(feature, self._moments[name])
                described[name] = {"kind": feature.kind, "boundaries": found}
            elif feature.kind == "lookup" or _is_scaled(feature):
                kind = "numeric" if feature.kind == "lookup" else feature.kind
                described[name] = {"kind": kind}
            elif feature.kind == "crossed":
                size = feature.hash_buckets
                described[name] = {"kind": "categorical", "size": size}
            else:
                if feature.kind == "numeric":
                    size = feature.buckets + 1
                elif feature.by_vocabulary:
                    size = self._vocabularies[feature.table_name].size
                else:
                    size = feature.hash_buckets or feature.capacity + 1
                several = feature.kind == "multivalued"
                kind = "multivalued" if several else "categorical"
                described[name] = {"kind": kind, "size": size}
        return described


def raw_specs(features: Sequence[Feature]) -> dict[str, tf.TensorSpec]:
    """What the graph takes in: {feature: spec}."""
    specs = {}
    for feature in features:
        if feature.kind == "crossed":
            continue
        shape = [None]
        if width := getattr(feature, "max_length", getattr(feature, "dim", None)):
            shape.append(width)
        is_number = feature.kind in ("numeric", "vector")
        dtype = tf.float32 if is_number else tf.string
        # Signatures call an input by its spec's name.
        specs[feature.name] = tf.TensorSpec(shape, dtype, feature.name)
    return specs


def build(
    features: Sequence[Feature],
    statistics: Path,
    assets: Path,
    missing: Sequence[str] = MISSING_WORDS,
    verbatim: Collection[str] = (),
    served: Mapping[str, Sequence[bytes]] | None = None,
    say: Callable[[str], None] = print,
) -> TransformGraph:
    """Makes the graph from the statistics of the train split.

    Args:
        features: The `features` section of a config.
        statistics: A folder with `moments.json` and `vocabulary/{feature}/*.parquet`.
        assets: A folder for vocabulary files. A saved graph has its own copies.
        missing: See `TransformGraph`.
        verbatim: See `TransformGraph`.
        served: {table: values that a served model knows}, from which a training starts.
        say: Takes a line for each table that they are merged into.

    Raises:
        PipelineError: If the train split has no values for a feature.
    """
    moments = json.loads((statistics / layout.MOMENTS).read_text())
    vocabularies = {}
    for i, feature in enumerate(features):
        if isinstance(feature, NumericFeature | NumericSequenceFeature):
            scaled = not _is_scaled(feature) or feature.scaling != "none"
            if scaled and not moments[feature.name]["count"]:
                raise PipelineError(
                    f"features.{i}: scaling needs numbers in the train split. "
                    f"Received: column {feature.name!r}, which has none. Leave the "
                    "feature out, or mend the logs"
                )
            if feature.piecewise_linear:
                try:
                    _boundaries(feature, moments[feature.name])
                except ValueError as error:
                    raise PipelineError(
                        f"features.{i}: piecewise_linear of column {feature.name!r}: "
                        f"{error} Leave the feature out, or mend the logs"
                    ) from error
        elif isinstance(feature, CategoricalFeature) and feature.by_vocabulary:
            table = feature.table_name
            if table in vocabularies:
                continue
            limits = feature.vocabulary or VocabularyConfig()
            counts = [
                layout.vocabulary(statistics, other.name)
                for other in features
                if getattr(other, "table_name", None) == table
            ]
            values = vocabulary.read(counts, limits)
            if not len(values):
                raise PipelineError(
                    f"features.{i}: a vocabulary needs a value that the train split "
                    f"has {limits.min_count} times (min_count). Received: column "
                    f"{feature.name!r}, which has none. Leave the feature out, lower "
                    "min_count, or mend the logs"
                )
            if served and table in served:
                new = len(values)
                values, dropped = vocabulary.merge(values, served[table], limits)
                line = f"vocabulary of {table!r}: {new:,} values of these logs, "
                line += f"{len(values) - new:,} more of the model to start from"
                say(line + (f"; {dropped:,} of it are dropped" if dropped else ""))
            vocabularies[table] = Vocabulary(values, assets / f"{table}.txt")
    return TransformGraph(features, vocabularies, moments, missing, verbatim)


def _is_scaled(feature: Feature) -> bool:
    if feature.kind == "numeric_sequence":
        return True
    return feature.kind == "numeric" and not feature.buckets


def _bucket(feature: NumericFeature, values: tf.Tensor, moments: Mapping) -> tf.Tensor:
    """Cuts a numeric feature (batch,) into buckets; 0 where it is not known."""
    known = tf.math.is_finite(values)
    values = tf.where(known, values, tf.zeros_like(values))
    edges = bucket_edges(feature, moments)
    ids = 1 + tf.searchsorted(edges, values, side="right", out_type=tf.int64)
    return tf.where(known, ids, tf.zeros_like(ids))


def bucket_edges(feature: NumericFeature, moments: Mapping) -> np.ndarray:
    """Where a numeric feature is cut into buckets, float32 (buckets - 1,)."""
    parts = np.arange(1, feature.buckets) / feature.buckets
    quantiles = np.float32(moments["quantiles"])
    # Of the 1001 quantiles, those nearest to 1/buckets, 2/buckets, ...
    edges = quantiles[np.rint(parts * 1000).astype(int)]
    if feature.bucketing == "log":
        low, high = np.log1p(np.maximum(quantiles[[0, -1]], 0))
        edges = np.float32(np.expm1(low + parts * (high - low)))
    return edges


def _looked_up(key: tf.Tensor, keys: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """The number (batch,) that stands last beside a key (batch,); 0 without one.

    Args:
        key: Strings (batch,); "" is missing.
        keys: Strings (batch, length).
        numbers: Floats (batch, length).
    """
    same = (keys == key[:, tf.newaxis]) & (keys != "")
    place = tf.reduce_max(tf.where(same, tf.range(tf.shape(keys)[1]), -1), axis=1)
    found = tf.gather(numbers, tf.maximum(place, 0), batch_dims=1)
    return tf.where(place >= 0, found, 0.0)


def _scaled(
    features: Sequence[NumericFeature],
    raw: Mapping[str, tf.Tensor],
    moments: Mapping[str, Mapping],
) -> dict[str, tf.Tensor]:
    """Standardises numeric features, each of any batch: {name: (batch,)}.

    One behind the other, by a few ops for all: a server prepares each op of a graph.
    """
    if not features:
        return {}
    tensors = [raw[feature.name] for feature in features]
    sizes = tf.concat(tf.shape_n(tensors), axis=0)
    values = tf.concat(tensors, axis=0)
    found = [_moments(feature, moments.get(feature.name, {})) for feature in features]
    logarithmic, means, stds = (np.array(part) for part in zip(*found, strict=True))
    missing = [np.nan if feature.knows_missing else 0.0 for feature in features]
    known = tf.math.is_finite(values)
    values = tf.where(known, values, tf.zeros_like(values))
    if logarithmic.any():
        logarithms = tf.math.log1p(tf.maximum(values, 0.0))
        values = tf.where(tf.repeat(logarithmic, sizes), logarithms, values)
    means, stds, missing = (
        tf.repeat(np.float32(numbers), sizes) for numbers in (means, stds, missing)
    )
    scaled = tf.where(known, (values - means) / stds, missing)
    parts = tf.split(scaled, sizes, num=len(features))
    return {f.name: part for f, part in zip(features, parts, strict=True)}


def _moments(feature: NumericFeature, moments: Mapping) -> tuple[bool, float, float]:
    """Whether logarithms are scaled, and by which mean and deviation."""
    if feature.scaling == "zscore":
        return False, moments["mean"], moments["std"] or 1.0
    if feature.scaling == "log1p_zscore":
        return True, moments["log1p_mean"], moments["log1p_std"] or 1.0
    return False, 0.0, 1.0


def _boundaries(feature: NumericFeature, moments: Mapping) -> list[float]:
    """The boundaries of a number's bins, scaled as the number is."""
    name = feature.name
    levels = {name: tf.constant(moments["levels"], tf.float32)}
    levels = _scaled([feature], levels, {name: moments})[name].numpy()
    bins, counts = feature.piecewise_linear, moments["level_counts"]
    return list(tfmtl.quantile_boundaries(levels, bins, counts))
