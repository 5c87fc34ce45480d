"""Checkpoints that survive a kill, and early stopping that remembers."""

import json
import math
import os
import tempfile
from pathlib import Path
from time import monotonic

import keras
import numpy as np

from tfmtl import _errors
from tfmtl.layers.embedding.sharded_table import only_sending
from tfmtl.training.monitor import BETTER, better
from tfmtl.training.workers import is_first_worker, workers


class Checkpoints(keras.callbacks.Callback):
    """Saves the model after every epoch, so that a killed `fit` can go on.

    Weights, the optimizer's state and that of random generators (dropout, noise) are
    saved, so that `fit` goes on as if it had never stopped, given the same data.

    With `steps` or `minutes` it saves within epochs too, metrics as they stand
    included. Then `fit` needs `steps_per_epoch`, and data that begin behind the batches
    that are done with: `initial_epoch * steps_per_epoch + checkpoints.step` of them.

    A file is written under a temporary name, flushed to the disk and renamed;
    `history.json` comes last, so it only names files that are whole. The last epoch and
    the best one are kept. Unlike with Keras's `EarlyStopping`, the best epoch and the
    patience used up are known again after a restart.

    Under `tf.distribute` with several workers, all of them must reach the directory,
    and only the first one writes. A file holds the rows of sharded tables of all
    workers, so that a training may go on with another number of them.

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
        steps: Integer. Saves within an epoch after so many steps. Defaults to never.
        minutes: Float. The same after so many minutes, with one worker alone, as the
            clocks of several differ. Defaults to never.

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

    def __init__(
        self,
        directory,
        monitor="val_loss",
        patience=None,
        mode=None,
        steps=None,
        minutes=None,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.monitor = monitor
        if patience is not None:
            _errors.check_positive("patience", patience)
        self.patience = patience
        if mode is not None:
            _errors.check_choice("mode", mode, BETTER)
        self.mode = mode or better(monitor)
        if steps is not None:
            _errors.check_positive("steps", steps)
        if minutes is not None:
            _errors.check_number("minutes", minutes)
        self.steps, self.minutes = steps, minutes
        self.history: list[dict[str, float]] = []
        self.step = 0  # batches that are done with of the epoch behind `history`
        self._state: list = []
        self._resumed = self._last = 0
        self.directory.mkdir(parents=True, exist_ok=True)
        record = self.directory / "history.json"
        if record.exists():
            saved = json.loads(record.read_text())
            self.history, self._state = saved["epochs"], saved["state"]
            self.step = saved.get("step", 0)
            if self.history:
                self._check_monitor(self.history[-1])

    def resume(self, model: keras.Model) -> int:
        """Loads the last epoch saved in the directory; returns `initial_epoch`.

        Args:
            model: The compiled model.
        """
        if self.history or self.step:
            self._resumed = self.step
            self._load_last(model)
        return len(self.history)

    def _load_last(self, model: keras.Model) -> None:
        last = self._within if self.step else self._file(len(self.history))
        model.load_weights(last)
        for variable, value in zip(_state(model), self._state, strict=True):
            variable.assign(value)
        if self.step:
            with np.load(_metrics_beside(last)) as values:
                for variable, value in zip(
                    model.metrics_variables, values.values(), strict=True
                ):
                    variable.assign(value)

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
            model.load_weights(self._file(self.best_epoch))
        model.optimizer.finalize_variable_values(model.trainable_weights)

    def on_train_begin(self, logs=None):
        """Looks whether it can be told where an epoch ends."""
        if self._resumed and not self.params.get("steps"):
            raise ValueError(
                "To go on within an epoch, `fit` needs `steps_per_epoch`, and data "
                f"that begin behind the {self._resumed} batches that are done with."
            )
        if self.minutes is not None and workers(self.model) > 1:
            raise ValueError(
                f"Several workers save by steps, as their clocks differ. Received: "
                f"minutes={self.minutes}. Give `steps`."
            )
        self._saved_at = monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Puts metrics, and what an epoch's begin has changed, where they were."""
        self._last = self._resumed
        if self._resumed:
            self._load_last(self.model)

    def on_train_batch_end(self, batch, logs=None):
        """Saves within the epoch, if it is time; ends one that was gone on with."""
        done = self._resumed + batch + 1
        if done >= (self.params.get("steps") or math.inf):
            if self._resumed:
                self.model.stop_training = True  # until the epoch has ended
            return  # which saves
        by_steps = self.steps and done - self._last >= self.steps
        minutes = (monotonic() - self._saved_at) / 60
        if by_steps or (self.minutes is not None and minutes >= self.minutes):
            self.step = self._last = done
            self._save(self._within)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the epoch; stops `fit` when the patience is used up."""
        self._check_monitor(logs)
        self.history.append({key: float(value) for key, value in logs.items()})
        self.step = 0
        self._save(self._file(len(self.history)))
        if self._resumed:
            self._resumed, self.model.stop_training = 0, False
        if self.finished:
            self.model.stop_training = True

    def _save(self, file: Path) -> None:
        """Saves the model, and then that it is there."""
        # Reading the variables of several workers takes all of them.
        self._state = [variable.numpy().tolist() for variable in _state(self.model)]
        metrics = [v.numpy() for v in self.model.metrics_variables] if self.step else []
        self._saved_at = monotonic()
        if not is_first_worker(self.model):
            with tempfile.TemporaryDirectory() as folder, only_sending():
                self.model.save_weights(Path(folder) / "new.weights.h5")
            return
        temporary = self.directory / "new.weights.h5"
        self.model.save_weights(temporary, overwrite=True)
        _rename(temporary, file)
        if self.step:
            temporary = self.directory / "new.npz"
            np.savez(temporary, *metrics)
            _rename(temporary, _metrics_beside(file))
        temporary = self.directory / "history.new"
        record = {"epochs": self.history, "state": self._state, "step": self.step}
        temporary.write_text(json.dumps(record))
        _rename(temporary, self.directory / "history.json")
        kept = {file, self._file(self.best_epoch), self._file(len(self.history))}
        kept |= {_metrics_beside(file)} if self.step else set()
        for old in self.directory.glob("epoch-*"):
            if old not in kept:
                old.unlink()

    def _check_monitor(self, logs) -> None:
        if self.monitor not in logs:
            raise ValueError(
                f"The monitor {self.monitor!r} is not among the metrics."
                f"{_errors.nearest(self.monitor, logs)}"
            )

    def _file(self, epoch: int) -> Path:
        return self.directory / f"epoch-{epoch}.weights.h5"

    @property
    def _within(self) -> Path:
        """The file of a step within an epoch: a new one, as the old one counts yet."""
        epoch = len(self.history) + 1
        return self.directory / f"epoch-{epoch}-step-{self.step}.weights.h5"


def _state(model: keras.Model) -> list:
    """The variables that `save_weights` leaves out: those of random generators."""
    known = {id(v) for v in (*model.weights, *model.metrics_variables)}
    return [v for v in model.variables if id(v) not in known]


def _metrics_beside(file: Path) -> Path:
    return file.with_name(file.name.replace(".weights.h5", ".metrics.npz"))


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
