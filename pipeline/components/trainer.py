"""Trainer: fits the configured architecture and exports it with its transform."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import keras
import pyarrow as pa
from tqdm import tqdm

import tfmtl
from pipeline import saved_model
from pipeline.beam import arrow
from pipeline.config import Config, ConfigError, nearest
from serving.warmup import write_warmup

_SHUFFLE = 200_000  # records in the shuffle buffer, of some hundred bytes each
_ARROW_TYPES = {
    "categorical": pa.string(),
    "numeric": pa.float32(),
    "sequence": pa.list_(pa.string()),
}


def check(config: Config) -> None:
    """Raises a ConfigError if no model can be built, before any data are touched."""
    name, known = config.model.architecture, tfmtl.models.names()
    if name not in known:
        raise ConfigError(
            f"model.architecture: there is no {name!r}.{nearest(name, known)} Known: "
            f"{', '.join(known)}"
        )
    _check_options(config)
    features, tasks = declare(config, _smallest(config))
    build(config, features, tasks)
    ends = ["loss"] + [
        f"{task.name}_{metric}"
        for task in tasks
        for metric in ("loss", *(form.key for form in task.metric_forms))
    ]
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

    A killed training goes on after its last whole epoch.

    Args:
        config: Its features, tasks, `model` and `train` sections.
        inputs: `statistics`, `transform_graph` and `transformed_examples`.
        outputs: `model`: Format-Keras/model.keras, Format-Serving (the SavedModel that
            is served), history.json and logs for TensorBoard; `checkpoints`: scratch.

    Returns:
        {"rows", "epochs", "parameters", "best_epoch"}.
    """
    check(config)
    keras.utils.set_random_seed(config.train.seed)
    graph = inputs["transform_graph"]
    sizes = json.loads((graph / "features.json").read_text())
    features, tasks = declare(config, sizes)
    model = build(config, features, tasks)
    rates = json.loads((inputs["statistics"] / "label_rates.json").read_text())
    means = {task: rate["mean"] for task, rate in rates["train"]["all"].items()}
    for task in tasks:
        try:
            task.logit_of(means[task.name])
        except ValueError:  # labels of one class only
            del means[task.name]
    model.start_at(means)
    batch = config.train.batch_size
    summary = (inputs["transformed_examples"] / "summary.json").read_text()
    rows = json.loads(summary)["rows"]

    def read(split, **options):
        files = inputs["transformed_examples"] / f"Split-{split}" / "*.tfrecord.gz"
        return tfmtl.data.read(
            str(files), features, tasks, batch, rows=rows[split], **options
        )

    checkpoints = tfmtl.training.Checkpoints(
        outputs["checkpoints"], config.train.monitor, config.train.patience
    )
    first = checkpoints.resume(model)
    if not checkpoints.finished:
        model.fit(
            read("train", shuffle=_SHUFFLE, seed=config.train.seed + first),
            validation_data=read("valid"),
            initial_epoch=first,
            epochs=config.train.epochs,
            shuffle=False,  # the dataset does
            verbose=0,
            callbacks=[
                _Progress(math.ceil(rows["train"] / batch), config.train.monitor),
                checkpoints,
                keras.callbacks.TensorBoard(
                    str(outputs["model"] / "logs"), write_graph=False
                ),
            ],
        )
    checkpoints.restore_best(model)
    (outputs["model"] / "Format-Keras").mkdir()
    model.save(outputs["model"] / "Format-Keras" / "model.keras")
    _export(model, outputs["model"] / "Format-Serving", graph / "transform_fn")
    (outputs["model"] / "history.json").write_text(
        json.dumps({"epochs": checkpoints.history}, indent=2)
    )
    best, epochs = checkpoints.best_epoch, len(checkpoints.history)
    value = checkpoints.history[best - 1][config.train.monitor]
    return {
        "rows": rows["train"],
        "epochs": epochs,
        "parameters": model.count_params(),
        "best_epoch": best,
        "notes": [
            f"{config.model.architecture} with {model.count_params():,} parameters, "
            f"epoch {best} of {epochs}: {config.train.monitor} {value:.4f}"
        ],
    }


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
                    vocabulary_size=described["size"],
                    embedding_dim=feature.embedding_dim,
                )
            )
        elif described["kind"] == "sequence":
            features.append(
                tfmtl.Sequence(
                    feature.name, of=feature.of, max_length=feature.max_length
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
    model.compile(keras.optimizers.Adam(config.train.learning_rate))
    return model


def _check_options(config: Config) -> None:
    known = tfmtl.models.options(config.model.architecture)
    for option in config.model.options:
        if option not in known:
            raise ConfigError(
                f"model.options.{option}: {config.model.architecture} has no such "
                f"option.{nearest(option, known)} Known: {', '.join(sorted(known))}"
            )


def _export(model: tfmtl.MultiTaskModel, path: Path, transform: Path) -> None:
    """Exports the model with a warm-up request.

    Without one, a server calls a version with damaged variables available.
    """
    tfmtl.export(model, path, transform)
    features = saved_model.features(saved_model.signatures(path)[saved_model.DEFAULT])
    missing = pa.RecordBatch.from_pylist(
        [{feature.name: None for feature in features}],
        pa.schema([(f.name, _ARROW_TYPES[f.kind]) for f in features]),
    )
    write_warmup(path, [arrow.raw_inputs(missing, features)])


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
