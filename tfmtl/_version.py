"""The version of the package, for the card of every exported model."""

__version__ = "0.1.0"
