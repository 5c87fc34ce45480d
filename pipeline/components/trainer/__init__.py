"""Trainer: fits the configured architecture and exports it with its transform."""
