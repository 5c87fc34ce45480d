"""BulkInferrer: scores files of rows with the served model."""
