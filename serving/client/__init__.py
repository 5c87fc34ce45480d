"""A client of the REST and gRPC APIs, for this server and for TF Serving alike."""

from serving.client.client import Client
from serving.client.retry import RequestError

__all__ = ["Client", "RequestError"]
