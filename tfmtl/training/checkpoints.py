"""Checkpoints that survive a kill, and early stopping that remembers."""

import json
import math
import os
import re
import tempfile
from pathlib import Path

import keras

from tfmtl import _errors

_BETTER = {
    "min": "loss logloss mae mse rmse ne entropy error ece",
    "max": "auc gauc xauc accuracy precision recall ndcg gain correlation",
    "one": "calibration",
}


class Checkpoints(keras.callbacks.Callback):
    """Saves the model after every epoch, so that a killed `fit` can go on.

    Weights, the optimizer's state and that of random generators (dropout, noise) are
    saved, so that `fit` goes on as if it had never stopped, given the same data. Long
    epochs are best cut by `fit(steps_per_epoch=...)`.

    A file is written under a temporary name, flushed to the disk and renamed;
    `history.json` comes last, so it only names files that are whole. The last epoch and
    the best one are kept. Unlike with Keras's `EarlyStopping`, the best epoch and the
    patience used up are known again after a restart.

    Under `tf.distribute` with several workers, all of them must reach the directory,
    and only the first one writes.

    Args:
        directory: Where to save; made if it does not exist.
        monitor: String. The metric that says which epoch is best. Defaults to
            "val_loss".
        patience: Integer. `fit` stops after so many epochs without a better one.
            Defaults to never.
        mode: "min", "max", or "one", where the metric nearest to 1 is best. Defaults to
            what the metric's name says: less is better for losses and errors (`_loss`,
            `_mae`, `_rmse`, `_ne` ...), more for `_auc`, `_gauc`, `_xauc` ..., 1 for
            `_calibration`.

    Raises:
        ValueError: If the name does not say it.

    Example:
        >>> import tempfile, tfmtl
        >>> model = tfmtl.models.get("shared_bottom")(
        ...     features=[tfmtl.Numeric("x")], tasks=[tfmtl.Task("click")]
        ... )
        >>> model.compile()
        >>> checkpoints = Checkpoints(tempfile.mkdtemp(), monitor="loss")
        >>> _ = model.fit(
        ...     {"x": keras.ops.ones(4)},
        ...     {"click": keras.ops.ones(4)},
        ...     initial_epoch=checkpoints.resume(model),
        ...     epochs=2,
        ...     callbacks=[checkpoints],
        ...     verbose=0,
        ... )
        >>> len(checkpoints.history)
        2
        >>> checkpoints.restore_best(model)
    """

    def __init__(self, directory, monitor="val_loss", patience=None, mode=None):
        super().__init__()
        self.directory = Path(directory)
        self.monitor = monitor
        if patience is not None:
            _errors.check_positive("patience", patience)
        self.patience = patience
        if mode is not None:
            _errors.check_choice("mode", mode, _BETTER)
        self.mode = mode or better(monitor)
        self.history: list[dict[str, float]] = []
        self._state: list = []
        self.directory.mkdir(parents=True, exist_ok=True)
        record = self.directory / "history.json"
        if record.exists():
            saved = json.loads(record.read_text())
            self.history, self._state = saved["epochs"], saved["state"]
            self._check_monitor(self.history[-1])

    def resume(self, model: keras.Model) -> int:
        """Loads the last epoch saved in the directory; returns `initial_epoch`.

        Args:
            model: The compiled model.
        """
        if self.history:
            self._load(model, len(self.history))
            for variable, value in zip(_state(model), self._state, strict=True):
                variable.assign(value)
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch with the best monitored metric, from 1; 0 before the first.

        The last one, as long as the metric is NaN and so tells nothing.
        """
        if not self.history:
            return 0
        costs = [self._cost(epoch[self.monitor]) for epoch in self.history]
        if min(costs) == math.inf:
            return len(costs)
        return 1 + costs.index(min(costs))

    def _cost(self, value: float) -> float:
        if math.isnan(value):  # is worse than anything
            return math.inf
        return {"min": value, "max": -value, "one": abs(value - 1)}[self.mode]

    @property
    def finished(self) -> bool:
        """Whether the patience is used up."""
        if self.patience is None or not self.history:
            return False
        return len(self.history) - self.best_epoch >= self.patience

    def restore_best(self, model: keras.Model) -> None:
        """Gives the model, as `fit` has left it, the weights of the best epoch.

        Of an optimizer with `use_ema` their averages, which were validated.
        """
        # The last epoch is what the model has, and its file may not be there yet for
        # other workers than the one that writes.
        if self.best_epoch < len(self.history):
            self._load(model, self.best_epoch)
        model.optimizer.finalize_variable_values(model.trainable_weights)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the epoch; stops `fit` when the patience is used up."""
        self._check_monitor(logs)
        self.history.append({key: float(value) for key, value in logs.items()})
        self._state = [variable.numpy().tolist() for variable in _state(self.model)]
        if _is_first_worker(self.model):
            self._save()
        else:
            # Reading the variables of several workers takes all of them.
            with tempfile.TemporaryDirectory() as folder:
                self.model.save_weights(Path(folder) / "new.weights.h5")
        if self.finished:
            self.model.stop_training = True

    def _save(self) -> None:
        last = len(self.history)
        temporary = self.directory / "new.weights.h5"
        self.model.save_weights(temporary, overwrite=True)
        _rename(temporary, self._file(last))
        temporary = self.directory / "history.new"
        record = {"epochs": self.history, "state": self._state}
        temporary.write_text(json.dumps(record))
        _rename(temporary, self.directory / "history.json")
        kept = {self._file(last), self._file(self.best_epoch)}
        for file in self.directory.glob("epoch-*.weights.h5"):
            if file not in kept:
                file.unlink()

    def _check_monitor(self, logs) -> None:
        if self.monitor not in logs:
            raise ValueError(
                f"The monitor {self.monitor!r} is not among the metrics."
                f"{_errors.nearest(self.monitor, logs)}"
            )

    def _file(self, epoch: int) -> Path:
        return self.directory / f"epoch-{epoch}.weights.h5"

    def _load(self, model: keras.Model, epoch: int) -> None:
        model.load_weights(self._file(epoch))


def better(monitor: str) -> str:
    """Returns which values of a metric are better by its name: "min", "max" or "one".

    Example:
    >>> better("val_click_gauc"), better("val_watch_mae"), better("val_loss")
    ('max', 'min', 'min')
    """
    # From the end, as a task may be called "loss".
    for word in reversed(re.split(r"[^a-z]+", monitor.lower())):
        for mode, words in _BETTER.items():
            if word in words.split():
                return mode
    raise ValueError(
        f"The name of the monitor does not say which of its values are better. "
        f"Received: {monitor!r}. Give mode='min', 'max' or 'one' (nearest to 1)."
    )


def _state(model: keras.Model) -> list:
    """The variables that `save_weights` leaves out: those of random generators."""
    known = {id(v) for v in (*model.weights, *model.metrics_variables)}
    return [v for v in model.variables if id(v) not in known]


def _is_first_worker(model: keras.Model) -> bool:
    resolver = getattr(model.distribute_strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return True
    chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == ("chief" if chief else "worker") and (
        resolver.task_id == 0
    )


def _rename(temporary: Path, target: Path) -> None:
    """Renames a file when its content is on the disk."""
    _flush(temporary)
    temporary.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
