"""Logs of every format, read as Arrow record batches with the types of the config."""
