"""The names of files and folders in artifacts stand in one module."""

import ast

from paths import ROOT

from pipeline.artifacts import layout

_NAMES = [
    value.strip("*")
    for name, value in vars(layout).items()
    if name.isupper()
    and isinstance(value, str)
    and value.strip("*")
    and not value.isidentifier()
]


def _strings(file):
    """The strings of a module but for its docstrings."""
    tree = ast.parse(file.read_text())
    told = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in told:
                yield node.value


def test_names_are_found():
    assert {"metrics.json", ".tfrecord.gz", "model.keras"} <= {
        name.rpartition("/")[2] for name in _NAMES
    }


def test_no_name_is_repeated():
    found = [
        (str(file.relative_to(ROOT)), text)
        for file in (ROOT / "pipeline").rglob("*.py")
        if file.name != "layout.py" and "datasets" not in file.parts
        for text in _strings(file)
        if any(name in text for name in _NAMES)
    ]
    assert not found
