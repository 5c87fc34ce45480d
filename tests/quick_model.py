"""Models of which a test asks no more than what they compute."""

import functools
import inspect
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
    with _no_symbolic_call():
        model = tfmtl.models.get(name)(features, tasks, **options)
    model(inputs)
    return model


def quick_again(model, inputs):
    """Makes a model of another's config, as `quick_model`, with its weights."""
    with _no_symbolic_call():
        again = type(model).from_config(model.get_config())
    again(inputs)
    again.set_weights(model.get_weights())
    return again


def eager_steps(model=tfmtl.MultiTaskModel):
    """Lets models run eagerly however they are compiled: tracing takes longer.

    For code of a page, which trains for a few steps. A context.

    Args:
        model: Class with the method `compile`.
    """
    compile_ = functools.partialmethod(model.compile, run_eagerly=True)
    return mock.patch.object(model, "compile", compile_)


def _no_symbolic_call():
    return mock.patch.object(
        tfmtl.MultiTaskModel, "symbolic_call", lambda *args, **kwargs: None
    )


def small(name):
    """Returns options that leave an architecture one of each part, or two to mix.

    Of what takes the most time: the number of layers, not their width.
    """
    few = {"experts": 2, "subnetworks": 2, "steps": 1, "depth": 1, "heads": 1}
    few |= {"group_units": 8, "task_units": 8}
    few["inner_units"] = 0
    options = {}
    signature = inspect.signature(tfmtl.models.get(name))
    for option, parameter in signature.parameters.items():
        default = parameter.default
        if option in few:
            options[option] = few[option]
        elif option.endswith("units") and isinstance(default, tuple) and default:
            levels = isinstance(default[0], tuple)
            options[option] = ((8,),) * len(default) if levels else (8,)
        elif option == "public":
            options[option] = default[:2]
    return options
