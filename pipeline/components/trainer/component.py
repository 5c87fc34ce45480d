"""Trainer: fits the configured architecture and exports it with its transform."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

import tfmtl
from pipeline import progress
from pipeline.artifacts import examples, layout, model_card, saved_model
from pipeline.artifacts import warm_start as starting_model
from pipeline.components.trainer import callbacks as own_callbacks
from pipeline.components.trainer import inspection, warm_start, workers
from pipeline.config import Config, ConfigError, nearest
from pipeline.config.declarations import declare, faults_of, options_of
from pipeline.errors import PipelineError
from pipeline.progress import Done
from serving.models.warmup import write_warmup

_COUNTS = "progress"  # among the outputs: where rows are counted, if anywhere
_COUNTED = 8192  # rows that are counted at a time
_SHUFFLE = 200_000  # records in the shuffle buffer, of some hundred bytes each


def check(config: Config) -> None:
    """Raises a ConfigError if no model can be built, before any data are touched."""
    starting_model.folder(config)
    own_callbacks.check(config)
    features, tasks = declare(config)
    build(config, features, tasks)
    ends = ["loss"] + [
        f"{task.name}_{metric}"
        for task in tasks
        for metric in ("loss", *(spec.key for spec in task.metric_specs))
    ]
    if config.train.mode is None:
        with faults_of("train.mode"):
            tfmtl.training.better(config.train.monitor)
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

    A killed training goes on from its last checkpoint, as if nothing had happened.
    The best epoch is calibrated on the valid split, see `tfmtl.Task`.

    Args:
        config: Its features, tasks, `model` and `train` sections.
        inputs: `statistics`, `transform_graph` and `transformed_examples`.
        outputs: `model`: Format-Keras/model.keras, Format-Serving (the SavedModel that
            is served), history.json, what `inspection` writes and logs for
            TensorBoard; `checkpoints`: scratch.

    Returns:
        {"rows", "epochs", "parameters", "best_epoch", "notes", "warnings"}.

    Raises:
        PipelineError: A loss, gradient or weight is not finite.
    """
    check(config)
    checkpoints = _checkpoints(config, outputs)
    left = config.train.epochs - len(checkpoints.history)
    steps = left * _steps_of_epoch(config, inputs) - checkpoints.step
    rows = steps * config.train.batch_size
    with progress.counting(rows, outputs["checkpoints"]) as done:
        to = outputs if done.folder is None else {**outputs, _COUNTS: done.folder}
        notes = workers.run(config, inputs, to, fit)
    progress.step("exports the model")
    model = _model(config, inputs)
    checkpoints = _checkpoints(config, outputs)
    checkpoints.resume(model)
    checkpoints.restore_best(model)
    rounded = _round_tables(config, inputs, model)
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
    warnings = inspection.write(config, model, inputs, outputs["model"])
    return {
        "rows": _rows(inputs)["train"],
        "epochs": epochs,
        "parameters": model.count_params(),
        "best_epoch": best,
        "notes": [
            *notes,
            f"{config.model.architecture} with {model.count_params():,} parameters, "
            f"epoch {best} of {epochs}: {config.train.monitor} {value:.4f}",
            *_early(config, best, epochs),
            *rounded,
            *(_calibrated(task, found) for task, found in calibration.items()),
            f"its curves: tensorboard --logdir {outputs['model'] / 'logs'}",
        ],
        "warnings": warnings,
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
    if config.train.warm_start and not (checkpoints.history or checkpoints.step):
        notes = warm_start.apply(config, model, inputs["transform_graph"])
    first = checkpoints.resume(model)
    if checkpoints.finished or first >= config.train.epochs:
        return notes
    steps = _steps_of_epoch(config, inputs)
    train = _train_batches(config, inputs, model, first * steps + checkpoints.step)
    # Behind the checks of an epoch, what it saves and logs is good.
    callbacks = [tfmtl.training.StopOnNaN(), checkpoints]
    if workers.is_first():
        logs = str(outputs["checkpoints"] / layout.TENSORBOARD)
        callbacks += [
            _Progress(config, Done(outputs.get(_COUNTS))),
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
    steps = _steps_of_epoch(config, inputs)
    model = build(config, *declare(config, sizes), steps)
    rates = json.loads((inputs["statistics"] / layout.LABEL_RATES).read_text())
    of_all = rates["train"][layout.ALL_DOMAINS]
    means = {task: rate["mean"] for task, rate in of_all.items()}
    for task in model.tasks:
        try:
            task.loss[0].logits_at(means[task.name])
        except ValueError:  # labels of one class only
            del means[task.name]
    model.start_at(means)
    return model


def _checkpoints(config: Config, outputs: Mapping[str, Path]):
    train = config.train
    return tfmtl.training.Checkpoints(
        outputs["checkpoints"],
        train.monitor,
        train.patience,
        train.mode,
        train.checkpoint.steps,
        train.checkpoint.minutes,
    )


def _train_batches(
    config: Config, inputs: Mapping[str, Path], model, start: int
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns the batches of the train split, behind those that are done with."""
    options = {"shuffle": _SHUFFLE, "seed": config.train.seed, "start": start}
    if not config.train.shard_input:
        return _read(config, inputs, model, "train", **options)

    def share(context):
        place = context.input_pipeline_id, context.num_input_pipelines
        size = context.get_per_replica_batch_size(config.train.batch_size)
        options.update(shard=place, batch_size=size, rows=None)
        return _read(config, inputs, model, "train", **options)

    return tf.distribute.get_strategy().distribute_datasets_from_function(share)


def _read(
    config: Config, inputs: Mapping[str, Path], model, split: str, **options
) -> tf.data.Dataset:
    """Returns the batches of a split; options are those of `tfmtl.data.read`."""
    files = layout.split(inputs["transformed_examples"], split) / layout.RECORD_FILES
    given = {"batch_size": config.train.batch_size, "rows": _rows(inputs)[split]}
    return tfmtl.data.read(str(files), model.features, model.tasks, **given | options)


def _round_tables(config: Config, inputs: Mapping[str, Path], model) -> list[str]:
    """Rounds the tables as the export does; returns a line that tells what it costs."""
    kind = config.export.tables
    if kind == "float32":
        return []

    def measured():
        found = model.evaluate(
            _read(config, inputs, model, "valid"), return_dict=True, verbose=0
        )
        return {k: v for k, v in found.items() if k.endswith(("_auc", "_loss"))}

    before = measured()
    tfmtl.round_tables(model, kind)
    after = measured()
    changes = [f"{name} {before[name]:.5f} -> {after[name]:.5f}" for name in before]
    return [f"tables are rounded to {kind}; on valid: {', '.join(changes)}"]


def _early(config: Config, best: int, epochs: int) -> list[str]:
    """The line that tells that a training stopped before its last epoch."""
    if epochs >= config.train.epochs:
        return []
    return [
        f"stopped after {epochs} of {config.train.epochs} epochs: "
        f"{config.train.monitor} has not improved since epoch {best}"
    ]


def _calibrated(task: str, found: Mapping) -> str:
    """The line that tells how a task was calibrated."""
    if "reason" in found:
        return f"{task}: not calibrated by {found['method']}: {found['reason']}"
    apart = ""
    if "by" in found:
        apart = f", {len(found['apart'])} values of {found['by']} apart"
    return (
        f"{task}: calibrated by {found['method']}, {found['before']:.2f} -> "
        f"{found['after']:.2f} on valid{apart}"
    )


def _rows(inputs: Mapping[str, Path]) -> dict[str, int]:
    summary = (inputs["transformed_examples"] / layout.SUMMARY).read_text()
    return json.loads(summary)["rows"]


def _steps_of_epoch(config: Config, inputs: Mapping[str, Path]) -> int:
    rows = _rows(inputs)["train"]
    return config.train.steps_per_epoch or math.ceil(rows / config.train.batch_size)


def build(
    config: Config, features: list, tasks: list, steps: int = 1
) -> tfmtl.MultiTaskModel:
    """Returns the configured architecture, compiled.

    Args:
        config: Its `model` and `train` sections.
        features: As `declare` returns them.
        tasks: As `declare` returns them.
        steps: Of an epoch, by which a schedule counts.
    """
    name = config.model.architecture
    with faults_of("model.architecture"):
        architecture = tfmtl.models.get(name)
    options = options_of(config.model, name)
    if config.domain and "domain" in tfmtl.models.options(name):
        options.setdefault("domain", config.domain)
    try:
        with faults_of("model.options"):
            model = architecture(features, tasks, **options)
    except ConfigError as error:
        with faults_of("features"):  # where they stand, if they are at fault
            tfmtl.layers.FeatureEmbedding(features).build()
        hint = (
            ". Options of another architecture? They stand below its name, as in "
            "{ple: {...}, mmoe: {...}}; --set model.options={} drops all"
        )
        fault = str(error).rstrip(".")
        raise ConfigError(f"{fault}{hint if config.model.options else ''}") from error
    train = config.train
    options = train.optimizer.options
    if train.learning_rate is not None:
        if "learning_rate" in options:
            raise ConfigError(
                "train.learning_rate: it is given in train.optimizer too; leave one out"
            )
        options["learning_rate"] = train.learning_rate
    with faults_of("train.optimizer"):
        optimizer = tfmtl.optimizers.get(train.optimizer.name, **options)
    with faults_of("train.schedule"):
        schedule = train.schedule
        tfmtl.optimizers.scheduled(
            optimizer, schedule.name, train.epochs, steps, **schedule.options
        )
    with faults_of("train.loss_weighting"):
        weighting = tfmtl.training.weighting(
            train.loss_weighting.name, **train.loss_weighting.options
        )
        model.compile(optimizer, weighting, jit_compile=train.jit_compile)
    return model


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
        tables=config.export.tables,
    )
    warm_start.write_names(model, path)
    rows = model_card.example_rows(config, inputs["statistics"])
    raw = examples.raw_inputs(rows, config.raw_features)
    graph = tf.saved_model.load(str(transform))
    transformed = graph.transform({k: tf.constant(v) for k, v in raw.items()})
    transformed = {name: tensor.numpy() for name, tensor in transformed.items()}
    requests = saved_model.requests(path, raw, transformed)
    write_warmup(path, {name: [inputs] for name, inputs in requests.items()})


class _Progress(keras.callbacks.Callback):
    """Counts rows, and prints a line when an epoch ends."""

    def __init__(self, config: Config, done: Done):
        super().__init__()
        self.train, self.done, self.rows = config.train, done, 0

    def on_train_batch_end(self, batch, logs=None):
        self.rows += self.train.batch_size
        if self.rows >= _COUNTED:
            self._count()

    def on_epoch_end(self, epoch, logs=None):
        self._count()
        shown = {"loss": logs["loss"], self.train.monitor: logs[self.train.monitor]}
        shown |= {k: v for k, v in logs.items() if k.startswith("val_") and "auc" in k}
        values = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
        progress.write(f"  epoch {epoch + 1} of {self.train.epochs}: {values}")

    def _count(self):
        self.done.add(self.rows)
        self.rows = 0
