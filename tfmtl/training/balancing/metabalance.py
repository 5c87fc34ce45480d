"""Gradients of auxiliary tasks, brought near the size of the target task's."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradient_balancing import GradientBalancing

_CHANGES = ("both", "reduce", "enlarge")


@keras.saving.register_keras_serializable("tfmtl.training")
class MetaBalance(GradientBalancing):
    """MetaBalance, He et al., algorithm 1: no task drowns the target's gradient.

        n_k <- decay n_k + (1 - decay) |g_k|       moving mean of the gradient's norm
        w_k = weight_k (relax n_target / n_k + 1 - relax),    w_target = weight_target

    separately for every shared parameter tensor, so a task may be damped in a table and
    raised in an expert. Made for, and measured on, recommendation with auxiliary
    tasks; it needs norms alone, no matrix to solve.

    Deviations from the paper: `Task.weight` comes in after the balance, and so still
    tells how much a task may pull. A batch without rows of a task leaves its mean; a
    mean of 0 scales nothing.

    Args:
        target: String. The task that the others serve. Defaults to the first.
        relax: Float in [0, 1]. 0 leaves the gradients as they are, 1 makes their sizes
            equal. Defaults to 0.7.
        decay: Float in [0, 1). Of the moving means. Defaults to 0.9.
        change: "both", "reduce" or "enlarge": the paper's strategies C, A and B, which
            change all gradients, only larger ones than the target's, only smaller ones.
            Defaults to "both".

    Raises:
        ValueError: If an argument is out of range; in `compile`, if no task is named
            `target`.

    Example:
    >>> MetaBalance(target="buy", change="reduce").get_config()["change"]
    'reduce'

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [MetaBalance](https://arxiv.org/abs/2203.06801)
    """

    def __init__(self, target=None, relax=0.7, decay=0.9, change="both", **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("change", change, _CHANGES)
        numbers = _errors.is_number(relax) and _errors.is_number(decay)
        if not numbers or not 0 <= relax <= 1 or not 0 <= decay < 1:
            raise ValueError(
                "relax must lie in [0, 1] and decay in [0, 1). Received: "
                f"relax={relax!r}, decay={decay!r}."
            )
        self.target = target
        self.relax = relax
        self.decay = decay
        self.change = change

    def start(self, tasks, variables):
        """Creates the moving means."""
        super().start(tasks, variables)
        names = [task.name for task in tasks]
        if self.target is not None:
            _errors.check_choice("target", self.target, names)
        self.place = names.index(self.target or names[0])
        self.norms = self.add_state("norms", (len(variables), len(tasks)))

    def balance(self, products, losses, seen):
        """Returns w_k of every variable."""
        now = tf.sqrt(tf.linalg.diag_part(products))  # (variables, K)
        before = tf.convert_to_tensor(self.norms)
        norms = tf.where(seen, self.decay * before + (1 - self.decay) * now, before)
        self.norms.assign(norms)
        target = norms[:, self.place, None]
        known = (norms > 0) & (target > 0)
        ratio = tf.where(known, target / tf.where(known, norms, 1.0), 1.0)
        if self.change == "reduce":
            ratio = tf.minimum(ratio, 1.0)
        elif self.change == "enlarge":
            ratio = tf.maximum(ratio, 1.0)
        return self.task_weights * (self.relax * ratio + 1 - self.relax)
