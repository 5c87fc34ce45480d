"""Sharing structures: one vector in, one vector a task out."""
