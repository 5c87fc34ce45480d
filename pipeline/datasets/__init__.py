"""Raw sources turned into impression logs that the pipeline reads."""
