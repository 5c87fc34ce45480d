"""The arguments of an architecture: its own, those of its layer and of the base."""

import inspect
import re

_SECTIONS = r"^(Args|Raises|Example|See Also|References):"


class OfTheClass:
    """`__signature__` of a class; its instances, which are called, have another."""

    def __get__(self, model, cls):
        """Returns the signature of the class."""
        if model is not None:
            raise AttributeError("__signature__")
        return signature_of(cls)


def signature_of(cls: type) -> inspect.Signature:
    """Returns what a class of models can be given.

    A subclass names what is its own, or has another default, and hands the rest on:
    to the layer `cls.structure`, as its options, and to the base.

    Args:
        cls: Class. `MultiTaskModel` or a subclass.
    """
    *subclasses, base = _models(cls)
    own = {}
    for owner in subclasses:
        if "__init__" in vars(owner):
            parameters, hands_on = _parameters(owner)
            own = {**parameters, **own}
            if not hands_on:
                return inspect.Signature(list(own.values()))
    inherited, _ = _parameters(base)
    if not own and not cls.structure:
        return inspect.Signature(list(inherited.values()))
    of_layer = _parameters(cls.structure)[0] if cls.structure else {}
    first = [inherited.pop(name) for name in ("features", "tasks")]
    del inherited["sharing"]
    options = {**of_layer, **own}
    options.update({k: v for k, v in inherited.items() if k not in own})
    options = {k: v for k, v in options.items() if k not in ("features", "tasks")}
    for name in cls.given:
        del options[name]
    options = [p.replace(kind=p.KEYWORD_ONLY) for p in options.values()]
    return inspect.Signature([*first, *options])


def docstring_of(cls: type) -> str | None:
    """Returns the docstring of a class of models, with all its arguments.

    An argument that the class does not describe is described as in the docstring of
    its layer, or of the base.

    Args:
        cls: Class. A subclass of `MultiTaskModel`.
    """
    if not cls.__doc__:
        return cls.__doc__
    described = {}
    *subclasses, base = _models(cls)
    for source in (cls.structure or base, base, *reversed(subclasses)):
        described.update(_descriptions(source))
    entries = [described[n] for n in signature_of(cls).parameters if n in described]
    doc = inspect.cleandoc(cls.__doc__)
    doc = re.sub(r"^Args:\n( .*\n?)+\n*", "", doc, flags=re.MULTILINE)
    after = re.search(_SECTIONS, doc, re.MULTILINE)
    end = after.start() if after else len(doc)
    text, rest = doc[:end].rstrip(), doc[end:]
    return f"{text}\n\nArgs:\n{''.join(entries)}\n{rest}".rstrip()


def _models(cls) -> list[type]:
    """Returns the class and those above it, up to `MultiTaskModel`."""
    return [c for c in cls.__mro__ if hasattr(c, "structure")]


def _parameters(cls):
    """Returns {name: parameter} of `cls.__init__`, and whether it takes others too."""
    parameters = dict(inspect.signature(cls.__init__).parameters)
    del parameters["self"]
    named = {k: p for k, p in parameters.items() if p.kind != p.VAR_KEYWORD}
    return named, named != parameters


def _descriptions(cls) -> dict[str, str]:
    """Returns {argument: its lines} of the docstring's section `Args`."""
    doc = inspect.cleandoc(vars(cls).get("__doc__") or "") + "\n"
    section = re.search(r"^Args:\n((?: .*\n)+)", doc, re.MULTILINE)
    entries = re.split(r"^(?= {4}\w+:)", section[1] if section else "", flags=re.M)
    return {entry.split(":")[0].strip(): entry for entry in entries if entry}
