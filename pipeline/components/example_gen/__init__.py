"""ExampleGen: logs -> typed examples in three splits."""
