"""Pusher: publishes a model that is blessed twice as the next version.

model, blessing, infra_blessing -> pushed_model/pushed.json
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline import blessing
from pipeline.components.evaluator import SERVING
from pipeline.config import Config
from pipeline.errors import PipelineError
from serving.publish import PublishError, publish


def pusher(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Publishes the model at `push.destination`, or says why not.

    Args:
        config: Its `push` section.
        inputs: "model", "blessing", "infra_blessing".
        outputs: "pushed_model": pushed.json {"version", "path"}, both null where
            nothing was pushed.

    Returns:
        {"pushed", "version", "notes"}.

    Raises:
        PipelineError: The model was blessed but cannot be published.
    """
    reasons = [
        f"not pushed, {name}: {reason}"
        for name in ("blessing", "infra_blessing")
        for reason in blessing.read(inputs[name])
    ]
    version = path = None
    if not reasons:
        try:
            path = publish(
                inputs["model"] / SERVING,
                config.push.destination,
                keep=config.push.keep,
            )
        except (PublishError, OSError) as error:
            raise PipelineError(f"push.destination: {error}") from error
        version = int(path.name)
    record = {"version": version, "path": str(path) if path else None}
    (outputs["pushed_model"] / "pushed.json").write_text(json.dumps(record) + "\n")
    notes = reasons or [f"version {version} is published at {path}"]
    return {"pushed": not reasons, "version": version, "notes": notes}
