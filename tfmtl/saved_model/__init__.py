"""The exported model: signatures, parsing of examples, ranking of candidates."""
