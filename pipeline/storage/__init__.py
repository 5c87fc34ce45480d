"""Workspaces and models in object stores, and the local folders that mirror them."""
