"""Where layers leave what they compute on the way, for whoever wants to look at it."""

import contextlib
import threading


class Recording:
    """Tensors that layers note while somebody in this thread listens.

    Example:
        >>> hidden = Recording()
        >>> hidden.note("dense", 3)  # nobody listens
        >>> with hidden.listen() as noted:
        ...     hidden.note("dense", 4)
        >>> noted
        {'dense': 4}
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @contextlib.contextmanager
    def listen(self):
        """Yields a dict that fills with {path: what was noted} inside the block."""
        before = getattr(self._local, "noted", None)
        self._local.noted = {}
        try:
            yield self._local.noted
        finally:
            self._local.noted = before

    def note(self, path: str, value) -> None:
        """Keeps a value under a path, if somebody listens."""
        noted = getattr(self._local, "noted", None)
        if noted is not None:
            noted[path] = value


# {path of a layer: (its output behind the activation, which axis of it is the rows)}
hidden_units = Recording()
# {path of a gate: what it mixes: (batch, experts, units), or a list of such or of
# (batch, units)}
gated_experts = Recording()
