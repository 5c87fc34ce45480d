"""The error for everything the user of the pipeline can mend."""


class PipelineError(Exception):
    """A stage cannot go on: which rule was broken, what was found, what to do."""
