"""`python -m pipeline init`: a first config, written after a look at the logs."""
