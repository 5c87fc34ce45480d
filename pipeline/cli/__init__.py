"""The commands of `python -m pipeline` that look at what runs have left."""
