"""Pusher: publishes a model that is blessed twice as the next version.

model, evaluation, blessing, infra_blessing -> pushed_model/pushed.json

A model that was published before and rolled back since is not published again: without
this, the next run would undo every rollback.

With `push.models_config` it goes in the steps of `serving.release.releases`, as the
release commands do.

The published copy's model card also has the metrics of the test split.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.artifacts import blessing, layout, model_card, pushed
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.storage import folders, mirror
from serving.release import releases
from serving.release.publish import PublishError, publish
from serving.release.rollbacks import is_rolled_back
from serving.release.servers import Servers
from tfmtl.model_card import CARD
from tfmtl.model_card import read as read_card


def pusher(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Publishes the model at `push.destination`, or says why not.

    Args:
        config: Its `push` section.
        inputs: "model", "evaluation", "blessing", "infra_blessing".
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
    steps: list[str] = []
    model = inputs["model"] / layout.SERVING_MODEL
    if not reasons and is_rolled_back(model, config.push.destination):
        reasons = [_rolled_back(config, model)]
    if not reasons:
        try:
            with folders.publishing(Path(config.push.destination)):
                path = _publish(config, inputs, steps.append)
                folders.publish(path)
        except (PublishError, OSError) as error:
            raise PipelineError(f"push.destination: {error}") from error
        except releases.UnfinishedError as error:
            if error.published is None:
                raise PipelineError(f"push.models_config: {error}") from error
            path = error.published
            steps.append(str(error))
        except ValueError as error:
            raise PipelineError(f"push.models_config: {error}") from error
        version = int(path.name)
    pushed.write(outputs["pushed_model"], path)
    at = path and mirror.shown(path)
    notes = reasons or [f"version {version} is published at {at}", *steps]
    return {"pushed": not reasons, "version": version, "notes": notes}


def _rolled_back(config: Config, model: Path) -> str:
    force = f"python -m serving publish {model} --model-base-path "
    force += config.push.destination
    if config.push.models_config:
        force += f" --model-config-file {config.push.models_config}"
        force += f" --model-name {config.name}"
        force += "".join(f" --label {label}" for label in config.push.labels)
        force += "".join(f" --url {url}" for url in config.push.urls)
    return (
        "not pushed: this very model was published and has been rolled back. Train "
        f"another one; to publish it all the same: {force}"
    )


def _publish(
    config: Config, inputs: Mapping[str, Path], say: Callable[[str], None]
) -> Path:
    model, push = inputs["model"] / layout.SERVING_MODEL, config.push
    extra = {}
    if card := read_card(model):
        measured = json.loads((inputs["evaluation"] / layout.METRICS).read_text())
        card = model_card.with_test_metrics(card, measured)
        extra = {str(CARD): json.dumps(card, indent=1) + "\n"}
    if push.models_config is None:
        return publish(model, push.destination, keep=push.keep, extra=extra)
    steps = releases.Release(
        Path(push.models_config),
        config.name,
        Servers(push.urls, config.name),
        Path(push.destination),
        say=say,
    )
    return releases.publish(steps, model, push.labels, keep=push.keep, extra=extra)
