"""Clusters of Dask, Flink and Spark on this machine, to try the Beam jobs on.

`make engine-flink` and the others fetch what one needs, and bring it up by
`python -m clusters NAME`. Tests and benchmarks call the function `start` of a module.
"""
