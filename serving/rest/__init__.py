"""TF Serving's REST API: HTTP, routes, and JSON as TF Serving reads and writes it."""
