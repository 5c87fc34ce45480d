"""Serving an exported model: server, client and publisher of SavedModels.

`serving.start` runs the embedded server, which speaks TF Serving's REST API;
`serving.client.Client` asks a server, this one or TF Serving itself;
`serving.release.publish.publish` puts a new version under a model's base path.
"""

from typing import Any

__all__ = ["Client", "start"]


def __getattr__(name: str) -> Any:
    """Imports on first use, so that a client never waits for TensorFlow."""
    if name == "start":
        from serving.server import start

        return start
    if name == "Client":
        from serving.client import Client

        return Client
    raise AttributeError(f"module 'serving' has no attribute {name!r}")
