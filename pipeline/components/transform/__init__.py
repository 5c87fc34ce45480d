"""Transform: the transform graph, and the examples it makes for the Trainer."""
