"""TensorFlow without its start-up notes."""

import os
import sys


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow and keeps what its C++ side prints meanwhile off the screen.

    The notes on missing GPUs and instruction sets come before TensorFlow's own log
    level is read, so only the file descriptor can be closed to them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
