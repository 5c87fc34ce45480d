"""Checkpoints that survive a kill, and early stopping that remembers."""

import json
import math
import os
from pathlib import Path

import keras

from tfmtl import _errors


class Checkpoints(keras.callbacks.Callback):
    """Saves the model after every epoch, so that a killed `fit` can go on.

    Weights and the optimizer's state are written under a temporary name and renamed;
    `history.json` is renamed last, so it only names files that are whole. The last
    epoch and the best one are kept. Unlike with Keras's `EarlyStopping`, the best epoch
    and the patience used up are known again after a restart.

    Args:
        directory: Where to save; made if it does not exist.
        monitor: String. The metric that says which epoch is best; it is maximised if
            its name holds "auc", else minimised. Defaults to "val_loss".
        patience: Integer. `fit` stops after so many epochs without a better one.
            Defaults to never.

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

    def __init__(self, directory, monitor="val_loss", patience=None):
        super().__init__()
        self.directory = Path(directory)
        self.monitor = monitor
        if patience is not None:
            _errors.check_positive("patience", patience)
        self.patience = patience
        self.history: list[dict[str, float]] = []
        self.directory.mkdir(parents=True, exist_ok=True)
        record = self.directory / "history.json"
        if record.exists():
            self.history = json.loads(record.read_text())

    def resume(self, model: keras.Model) -> int:
        """Loads the last epoch saved in the directory; returns `initial_epoch`.

        Args:
            model: The compiled model.
        """
        if self.history:
            self._load(model, len(self.history))
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch with the best monitored metric, from 1; 0 before the first."""
        if not self.history:
            return 0
        sign = -1 if "auc" in self.monitor else 1
        # NaN is worse than anything.
        values = [sign * epoch[self.monitor] for epoch in self.history]
        values = [math.inf if math.isnan(value) else value for value in values]
        return 1 + values.index(min(values))

    @property
    def finished(self) -> bool:
        """Whether the patience is used up."""
        if self.patience is None or not self.history:
            return False
        return len(self.history) - self.best_epoch >= self.patience

    def restore_best(self, model: keras.Model) -> None:
        """Gives the model the weights of the best epoch."""
        if self.best_epoch:
            self._load(model, self.best_epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the epoch; stops `fit` when the patience is used up."""
        if self.monitor not in logs:
            raise ValueError(
                f"The monitor {self.monitor!r} is not among the metrics."
                f"{_errors.nearest(self.monitor, logs)}"
            )
        self.history.append({key: float(value) for key, value in logs.items()})
        last = len(self.history)
        temporary = self.directory / "new.weights.h5"
        self.model.save_weights(temporary, overwrite=True)
        temporary.replace(self._file(last))
        record = self.directory / "history.json"
        temporary = record.with_suffix(".new")
        with open(temporary, "w") as file:
            json.dump(self.history, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(record)
        kept = {self._file(last), self._file(self.best_epoch)}
        for file in self.directory.glob("epoch-*.weights.h5"):
            if file not in kept:
                file.unlink()
        if self.finished:
            self.model.stop_training = True

    def _file(self, epoch: int) -> Path:
        return self.directory / f"epoch-{epoch}.weights.h5"

    def _load(self, model: keras.Model, epoch: int) -> None:
        model.load_weights(self._file(epoch))
