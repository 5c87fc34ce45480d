"""What goes into `fit` beside the model: callbacks."""

from tfmtl.training.checkpoints import Checkpoints

__all__ = ["Checkpoints"]
