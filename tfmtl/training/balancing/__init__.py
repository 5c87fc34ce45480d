"""Strategies by which the tasks' losses, or their gradients, are weighed."""
