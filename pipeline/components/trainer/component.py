"""Trainer: fits the configured architecture and exports it with its transform."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

import tfmtl
from pipeline.artifacts import examples, layout, model_card, saved_model
from pipeline.components.trainer import callbacks as own_callbacks
from pipeline.components.trainer import warm_start, workers
from pipeline.config import Config, ConfigError, nearest
from pipeline.config.features import Feature
from pipeline.errors import PipelineError
from serving.models.warmup import write_warmup

_SHUFFLE = 200_000  # records in the shuffle buffer, of some hundred bytes each


def check(config: Config) -> None:
    """Raises a ConfigError if no model can be built, before any data are touched."""
    name, known = config.model.architecture, tfmtl.models.names()
    if name not in known:
        raise ConfigError(
            f"model.architecture: there is no {name!r}.{nearest(name, known)} Known: "
            f"{', '.join(known)}"
        )
    _check_options(config)
    warm_start.folder(config)
    own_callbacks.check(config)
    features, tasks = declare(config, _smallest(config))
    build(config, features, tasks)
    ends = ["loss"] + [
        f"{task.name}_{metric}"
        for task in tasks
        for metric in ("loss", *(spec.key for spec in task.metric_specs))
    ]
    if config.train.mode is None:
        try:
            tfmtl.training.better(config.train.monitor)
        except ValueError as error:
            raise ConfigError(f"train.mode: {error}") from None
    monitors = [f"{prefix}{end}" for prefix in ("val_", "") for end in ends]
    # A metric by domain has "=id" behind its name; the ids are not known yet.
    if config.train.monitor.split("=")[0] not in monitors:
        raise ConfigError(
            f"train.monitor: there is no {config.train.monitor!r}."
            f"{nearest(config.train.monitor, monitors)} Known: {', '.join(monitors)}"
        )


def trainer(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Trains on the train split, stops by the valid split, writes the model.

    A killed training goes on after its last whole epoch, as if nothing had happened.
    The best epoch is calibrated on the valid split, see `tfmtl.Task`.

    Args:
        config: Its features, tasks, `model` and `train` sections.
        inputs: `statistics`, `transform_graph` and `transformed_examples`.
        outputs: `model`: Format-Keras/model.keras, Format-Serving (the SavedModel that
            is served), history.json and logs for TensorBoard; `checkpoints`: scratch.

    Returns:
        {"rows", "epochs", "parameters", "best_epoch", "notes"}.

    Raises:
        PipelineError: A loss, gradient or weight is not finite.
    """
    check(config)
    notes = workers.run(config, inputs, outputs, fit)
    model = _model(config, inputs)
    checkpoints = _checkpoints(config, outputs)
    checkpoints.resume(model)
    checkpoints.restore_best(model)
    calibration = model.calibrate(_read(config, inputs, model, "valid"))
    keras_model = outputs["model"] / layout.KERAS_MODEL
    keras_model.parent.mkdir()
    model.save(keras_model)
    exported = outputs["model"] / layout.SERVING_MODEL
    _export(config, model, exported, inputs)
    shutil.copytree(
        outputs["checkpoints"] / layout.TENSORBOARD,
        outputs["model"] / layout.TENSORBOARD,
    )
    (outputs["model"] / layout.HISTORY).write_text(
        json.dumps({"epochs": checkpoints.history}, indent=2)
    )
    best, epochs = checkpoints.best_epoch, len(checkpoints.history)
    model_card.extend(
        config,
        exported,
        inputs["statistics"],
        checkpoints.history[best - 1],
        calibration,
    )
    value = checkpoints.history[best - 1][config.train.monitor]
    return {
        "rows": _rows(inputs)["train"],
        "epochs": epochs,
        "parameters": model.count_params(),
        "best_epoch": best,
        "notes": [
            *notes,
            f"{config.model.architecture} with {model.count_params():,} parameters, "
            f"epoch {best} of {epochs}: {config.train.monitor} {value:.4f}",
            *(_calibrated(task, found) for task, found in calibration.items()),
            f"its curves: tensorboard --logdir {outputs['model'] / 'logs'}",
        ],
    }


def fit(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> list[str]:
    """Trains from the last checkpoint on, under `tf.distribute` in its scope.

    Returns:
        Lines to report.
    """
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = _model(config, inputs)
    checkpoints = _checkpoints(config, outputs)
    notes = []
    if config.train.warm_start and not checkpoints.history:
        notes = warm_start.apply(config, model, inputs["transform_graph"])
    first = checkpoints.resume(model)
    if checkpoints.finished or first >= config.train.epochs:
        return notes
    steps = config.train.steps_per_epoch or math.ceil(
        _rows(inputs)["train"] / config.train.batch_size
    )
    train = _read(
        config,
        inputs,
        model,
        "train",
        shuffle=_SHUFFLE,
        seed=config.train.seed,
        start=first * steps,
    )
    # Behind the checks of an epoch, what it saves and logs is good.
    callbacks = [tfmtl.training.StopOnNaN(), checkpoints]
    if workers.is_first():
        logs = str(outputs["checkpoints"] / layout.TENSORBOARD)
        callbacks += [
            _Progress(steps, config.train.monitor),
            keras.callbacks.TensorBoard(logs, write_graph=False),
            *own_callbacks.make(config),
        ]
    try:
        model.fit(
            train,
            validation_data=_read(config, inputs, model, "valid"),
            initial_epoch=first,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the dataset does
            verbose=0,
            callbacks=callbacks,
        )
    except FloatingPointError as error:
        last = len(checkpoints.history)
        kept = f"epoch {last} is kept" if last else "there is none yet"
        raise PipelineError(f"{error} The last good checkpoint: {kept}.") from error
    return notes


def _model(config: Config, inputs: Mapping[str, Path]) -> tfmtl.MultiTaskModel:
    """Returns the compiled model; untrained, it predicts the mean of every task."""
    sizes = json.loads((inputs["transform_graph"] / layout.FEATURES).read_text())
    model = build(config, *declare(config, sizes))
    rates = json.loads((inputs["statistics"] / layout.LABEL_RATES).read_text())
    means = {task: rate["mean"] for task, rate in rates["train"]["all"].items()}
    for task in model.tasks:
        try:
            task.logit_of(means[task.name])
        except ValueError:  # labels of one class only
            del means[task.name]
    model.start_at(means)
    return model


def _checkpoints(config: Config, outputs: Mapping[str, Path]):
    train = config.train
    return tfmtl.training.Checkpoints(
        outputs["checkpoints"], train.monitor, train.patience, train.mode
    )


def _read(
    config: Config, inputs: Mapping[str, Path], model, split: str, **options
) -> tf.data.Dataset:
    """Returns the batches of a split; options are those of `tfmtl.data.read`."""
    files = layout.split(inputs["transformed_examples"], split) / layout.RECORD_FILES
    return tfmtl.data.read(
        str(files),
        model.features,
        model.tasks,
        config.train.batch_size,
        rows=_rows(inputs)[split],
        **options,
    )


def _calibrated(task: str, found: Mapping) -> str:
    """The line that tells how a task was calibrated."""
    if "reason" in found:
        return f"{task}: not calibrated by {found['method']}: {found['reason']}"
    return (
        f"{task}: calibrated by {found['method']}, {found['before']:.2f} -> "
        f"{found['after']:.2f} on valid"
    )


def _rows(inputs: Mapping[str, Path]) -> dict[str, int]:
    summary = (inputs["transformed_examples"] / layout.SUMMARY).read_text()
    return json.loads(summary)["rows"]


def declare(config: Config, sizes: dict) -> tuple[list, list]:
    """Returns the features and tasks as the library declares them.

    Args:
        config: The pipeline.
        sizes: What Transform wrote into features.json: each feature's table size.
    """
    features = []
    for feature in config.features:
        described = sizes[feature.name]
        if described["kind"] == "categorical":
            features.append(
                tfmtl.Categorical(
                    feature.name,
                    embedding_dim=feature.embedding_dim,
                    **_table(feature, described["size"]),
                )
            )
        elif described["kind"] == "sequence":
            features.append(
                tfmtl.Sequence(
                    feature.name,
                    of=feature.of,
                    max_length=feature.max_length,
                    pooling=feature.pooling,
                    target=feature.target,
                )
            )
        else:
            features.append(tfmtl.Numeric(feature.name))
    tasks = []
    for i, task in enumerate(config.tasks):
        try:
            tasks.append(tfmtl.Task(**task.model_dump()))
        except ValueError as error:
            raise ConfigError(f"tasks.{i}: {error}") from error
    return features, tasks


def _table(feature: Feature, size: int) -> dict:
    """Returns the arguments of `tfmtl.Categorical` that say what its table is."""
    if feature.kind == "numeric":
        return {"vocabulary_size": size}
    if feature.capacity:
        own = ("min_score", "decay", "pass_steps", "table")
        sizes = {"capacity": size - 1}
    elif feature.num_hashes > 1:
        own, sizes = ("num_hashes", "table"), {"num_buckets": size}
    else:
        own, sizes = ("oov_buckets", "table"), {"vocabulary_size": size}
    return sizes | {key: getattr(feature, key) for key in own}


def _smallest(config: Config) -> dict:
    """What features.json would hold for tables of two rows."""
    return {
        feature.name: {
            "kind": "categorical" if getattr(feature, "buckets", 0) else feature.kind,
            "size": 2,
        }
        for feature in config.features
    }


def build(config: Config, features: list, tasks: list) -> tfmtl.MultiTaskModel:
    """Returns the configured architecture, compiled."""
    name, options = config.model.architecture, dict(config.model.options)
    if config.domain and "domain" in tfmtl.models.options(name):
        options.setdefault("domain", config.domain)
    try:
        model = tfmtl.models.get(name)(features, tasks, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.options: {error}") from error
    train = config.train
    options = train.optimizer.options
    if train.learning_rate is not None:
        if "learning_rate" in options:
            raise ConfigError(
                "train.learning_rate: it is given in train.optimizer too; leave one out"
            )
        options["learning_rate"] = train.learning_rate
    try:
        optimizer = tfmtl.optimizers.get(train.optimizer.name, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"train.optimizer: {error}") from error
    try:
        weighting = tfmtl.training.weighting(
            train.loss_weighting.name, **train.loss_weighting.options
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"train.loss_weighting: {error}") from error
    try:
        model.compile(optimizer, weighting, jit_compile=train.jit_compile)
    except ValueError as error:  # what it says of the tasks
        raise ConfigError(f"train.loss_weighting: {error}") from error
    return model


def _check_options(config: Config) -> None:
    known = tfmtl.models.options(config.model.architecture)
    for option in config.model.options:
        if option not in known:
            raise ConfigError(
                f"model.options.{option}: {config.model.architecture} has no such "
                f"option.{nearest(option, known)} Known: {', '.join(sorted(known))}"
            )


def _export(
    config: Config, model: tfmtl.MultiTaskModel, path: Path, inputs: Mapping[str, Path]
) -> None:
    """Exports the model with its card's first part, and requests to warm it up.

    Without those, a server calls a version with damaged variables available. What a
    later model needs for a warm start goes along.
    """
    transform = inputs["transform_graph"] / layout.TRANSFORM_GRAPH
    score = config.export.fused_score
    tfmtl.export(
        model,
        path,
        transform,
        user_features=config.export.user_features,
        fused_score=score and score.weights,
        fused_form=score.form if score else "product",
        rank_outputs=config.export.rank_outputs,
    )
    warm_start.write_names(model, path)
    rows = model_card.example_rows(config, inputs["statistics"])
    raw = examples.raw_inputs(rows, config.features)
    graph = tf.saved_model.load(str(transform))
    transformed = graph.transform({k: tf.constant(v) for k, v in raw.items()})
    transformed = {name: tensor.numpy() for name, tensor in transformed.items()}
    requests = saved_model.requests(path, raw, transformed)
    write_warmup(path, {name: [inputs] for name, inputs in requests.items()})


class _Progress(keras.callbacks.Callback):
    """A bar over the steps of an epoch, and a line when it ends."""

    def __init__(self, steps: int, monitor: str):
        super().__init__()
        self.steps, self.monitor = steps, monitor

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = tqdm(
            total=self.steps, desc=f"epoch {epoch + 1}", unit="step", disable=None
        )

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        shown = {"loss": logs["loss"], self.monitor: logs[self.monitor]}
        shown |= {k: v for k, v in logs.items() if k.startswith("val_") and "auc" in k}
        values = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
        tqdm.write(f"  epoch {epoch + 1}: {values}")
