"""The commands of `python -m pipeline` beside `run`: one a module, or two."""
