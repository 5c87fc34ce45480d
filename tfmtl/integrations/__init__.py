"""Bridges to other libraries; each is imported by name, and only where it is needed."""
