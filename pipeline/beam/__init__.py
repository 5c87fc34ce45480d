"""Beam sources, sinks and transforms that the components are made of."""
