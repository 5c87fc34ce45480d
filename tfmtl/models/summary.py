"""What a model is, as text: its features, tasks and parts."""

from tfmtl.features import Multivalued, Numeric, NumericSequence, Sequence, Vector


def summary(model) -> str:
    """Returns tables of a model's features, tasks and parts."""
    shapes = model.embedding.compute_output_shape({"any": (None,)})
    features = [
        (f.name, _takes(f), shapes[f.name][-1] if f.name in shapes else "")
        for f in model.features
    ]
    tasks = [
        (t.name, t.kind, "+".join(x.name for x in t.loss), t.space or "", t.weight)
        for t in model.tasks
    ]
    parts = [
        (layer.name, type(layer).__name__, f"{layer.count_params():,}")
        for layer in model.layers
        if layer.weights
    ]
    return "\n\n".join(
        (
            repr(model),
            _table(("feature", "takes", "vector of"), features),
            _table(("task", "kind", "loss", "sample space", "weight"), tasks),
            _table(("part", "layer", "parameters"), parts),
        )
    )


def _takes(feature) -> str:
    if isinstance(feature, Numeric):
        if feature.autodis:
            return f"a number, {feature.autodis} meta-embeddings"
        if feature.boundaries is None:
            return "a number"
        return f"a number, {len(feature.boundaries)} boundaries"
    if isinstance(feature, Vector):
        return f"a vector of {feature.dim}"
    if isinstance(feature, NumericSequence):
        return f"up to {feature.max_length} numbers, beside {feature.side_of}"
    if isinstance(feature, Sequence):
        beside = f", beside {feature.side_of}" if feature.side_of else ""
        return f"up to {feature.max_length} of {feature.of}{beside}"
    several = isinstance(feature, Multivalued)
    if feature.vocabulary is not None:
        count = f"up to {feature.max_length}" if several else "one"
        return f"{count} of {len(feature.vocabulary):,} values"
    count = f"up to {feature.max_length} ids" if several else "an id"
    return f"{count}, {feature.table_size:,} rows"


def _table(head, rows) -> str:
    rows = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in line).rstrip() for line in lines
    )
