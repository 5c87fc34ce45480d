"""Tables whose rows hold a vector for each of several readers, side by side."""

import dataclasses

from keras import ops

from tfmtl.features import Numeric, Vector
from tfmtl.layers.sequences.pooling import POOLINGS


def widened(features: list, readers: int, what: str) -> list:
    """Returns features whose rows have room for every reader; one lookup serves all.

    Args:
        features: List of features.
        readers: Integer. How many vectors a row holds.
        what: String. The architecture, for messages.

    Raises:
        ValueError: If a sequence is pooled by an encoder, or a number embedded by
            AutoDis, which readers would share.
    """
    for feature in features:
        if getattr(feature, "autodis", None):
            raise ValueError(
                f"{what} gives every task vectors of its own, which would share what "
                f"chooses them. Received: autodis of {feature.name!r}; use boundaries."
            )
        name, _ = getattr(feature, "encoding", ("mean", {}))
        if name not in POOLINGS:
            raise ValueError(
                f"{what} gives every task vectors of its own, which would share the "
                f"encoder of a sequence. Received: {name!r} of {feature.name!r}; use "
                f"one of {', '.join(POOLINGS)}, or one model a task."
            )
        if getattr(feature, "side_of", None):
            raise ValueError(
                f"{what} parts each vector among the tasks, and so takes no side "
                f"fields of a sequence. Received: {feature.name!r}; leave it out, or "
                "use one model a task."
            )
    return [
        dataclasses.replace(f, embedding_dim=f.embedding_dim * readers)
        if getattr(f, "embedding_dim", None)
        else f
        for f in features
    ]


def of_readers(features: list, vectors: dict, readers: int) -> list[dict]:
    """Returns what each reader sees, {feature: (batch, dim)}, of wide vectors.

    Args:
        features: List of features, as they were before `widened`.
        vectors: Dict {feature: (batch, readers * dim)}; numbers, and vectors without a
            projection, are seen by all.
        readers: Integer.
    """
    parts = [
        [vectors[f.name]] * readers
        if isinstance(f, Numeric | Vector) and f.embedding_dim is None
        else ops.split(vectors[f.name], readers, axis=-1)
        for f in features
    ]  # [features][readers] of (B, dim)
    names = [f.name for f in features]
    return [dict(zip(names, seen, strict=True)) for seen in zip(*parts, strict=True)]
