"""The offline scores: what the Keras model predicts for transformed examples."""

from pathlib import Path

import numpy as np

from pipeline.artifacts import layout
from pipeline.errors import PipelineError


def scores(
    architecture: str, model: Path, examples: Path, rows: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores the first rows of the test split.

    Args:
        architecture: `model.architecture`, whose class the model is an instance of.
        model: What the Trainer wrote.
        examples: What Transform wrote.
        rows: How many.

    Returns:
        {feature: array (rows, ...)} as the model takes them; {task: score (rows,)}.

    Raises:
        PipelineError: The split has fewer rows.
    """
    import keras

    import tfmtl

    tfmtl.models.get(architecture)  # imports one of the user's own
    loaded = keras.models.load_model(model / layout.KERAS_MODEL, compile=False)
    split = layout.split(examples, "test")
    files = str(split / layout.RECORD_FILES)
    features, _ = next(
        iter(tfmtl.data.read(files, loaded.features, loaded.tasks, rows))
    )
    transformed = {name: tensor.numpy() for name, tensor in features.items()}
    found = len(next(iter(transformed.values())))
    if found != rows:
        raise PipelineError(
            "the test split must have the same rows before and after Transform. "
            f"Received: {rows} and {found} in {split}. Run Transform again"
        )
    predicted = loaded(features, training=False)
    return transformed, {name: np.asarray(s)[:, 0] for name, s in predicted.items()}
