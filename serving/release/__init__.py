"""Publishing versions, labels, releases in steps, and rollbacks."""
