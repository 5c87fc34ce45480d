"""Evaluator: measures the exported model, and blesses or refuses it."""
