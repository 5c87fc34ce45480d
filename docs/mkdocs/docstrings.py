"""Docstrings as the site's parser wants them: examples are indented."""

import re
import textwrap

import griffe

# All up to an empty line, behind which no further `>>>` stands.
EXAMPLE = re.compile(r"^Examples?:\n((?:.+\n?|\n(?=>>>))+)", re.MULTILINE)


def indented(text: str) -> str:
    """Returns a docstring with its examples indented."""
    return EXAMPLE.sub(
        lambda found: "Examples:\n" + textwrap.indent(found[1], "    "), text
    )


class Docstrings(griffe.Extension):
    """Reads the examples of all objects."""

    def on_object(self, *, obj, **kwargs) -> None:
        """Changes the docstring of an object that was read."""
        if obj.docstring:
            obj.docstring.value = indented(obj.docstring.value)
