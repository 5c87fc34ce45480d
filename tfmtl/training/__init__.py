"""What goes into `fit` beside the model, and what comes before it."""

from tfmtl.training.checkpoints import Checkpoints, better
from tfmtl.training.stop_on_nan import StopOnNaN
from tfmtl.training.warm_start import warm_start

__all__ = ["Checkpoints", "StopOnNaN", "better", "warm_start"]
