"""Models in memory: loaded, warmed up, batched, replaced; what they compute."""
