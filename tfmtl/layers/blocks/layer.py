"""What every layer here has in common: it can be written down and made again."""

import inspect

import keras


class Layer(keras.layers.Layer):
    """A Keras layer whose config is what it was made with, defaults included.

    So no layer needs a `get_config` of its own. A default that changes later leaves a
    saved layer as it was.
    """

    def __new__(cls, *args, **kwargs):
        """Keeps the arguments for `get_config`."""
        layer = super().__new__(cls, *args, **kwargs)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(layer, *args, **kwargs)
        except TypeError:  # which `__init__` is about to raise, in Python's own words
            return layer
        bound.apply_defaults()
        named = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        del named["self"]
        named.pop("kwargs", None)
        # As they are: Keras would track the layers and lists among them.
        object.__setattr__(layer, "_arguments", named)
        return layer

    def get_config(self):
        """Returns every argument."""
        return {**written(self._arguments), **super().get_config()}


def written(value):
    """Returns an argument as a config holds it.

    A layer, wherever it stands, becomes the dict that Keras saves of it, and a
    function, such as an activation, its name.
    """
    if isinstance(value, keras.layers.Layer):
        saved = keras.saving.serialize_keras_object(value)
        # Of this a new layer is made, neither built nor shared with other places.
        leave_out = ("build_config", "shared_object_id")
        return {key: part for key, part in saved.items() if key not in leave_out}
    if isinstance(value, dict):
        return {key: written(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(written, value))
    return keras.activations.serialize(value) if callable(value) else value
