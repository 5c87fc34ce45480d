"""Clusters of Dask, Flink and Spark on this machine, to try the Beam jobs on.

`python -m clusters NAME` brings one up; `make engine-flink` and the others fetch first
what it needs. Each module has a function `start`, which tests and benchmarks call.
"""
