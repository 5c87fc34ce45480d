"""Workspaces and models in object stores, and the local folders they are mirrored in."""
