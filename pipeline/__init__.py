"""From logs to a pushed model: a TFX-style pipeline run by Apache Beam and Keras."""
