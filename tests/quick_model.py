"""Models of which a test asks no more than what they compute."""

from unittest import mock

import tfmtl


def quick_model(name, features, tasks, inputs, **options):
    """Makes a model and gives it its weights by a call on numbers.

    The symbolic call of a model that is made takes several times as long.

    Args:
        name: str. The architecture.
        features: list of features.
        tasks: list of `Task`.
        inputs: {feature: array}.
        **options: Of the architecture.
    """
    architecture = tfmtl.models.get(name)
    with mock.patch.object(architecture, "symbolic_call", lambda *args, **kwargs: None):
        model = architecture(features, tasks, **options)
    model(inputs)
    return model
