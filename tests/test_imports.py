"""Imports run one way: pipeline -> tfmtl and serving, which know nothing of others."""

import ast
import subprocess
import sys

import pytest
from paths import ROOT

HEAVY = {"apache_beam", "pyarrow", "tensorflow_metadata", "pydantic"}


def _imports(package):
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                yield file, node.module.split(".")[0]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("tfmtl", {"pipeline", "serving"} | HEAVY),
        ("serving", {"pipeline", "tfmtl"} | HEAVY),
    ],
)
def test_imports_run_one_way(package, forbidden):
    found = [(str(f), name) for f, name in _imports(package) if name in forbidden]
    assert not found


def test_the_library_needs_only_tensorflow_keras_and_numpy():
    standard = sys.stdlib_module_names | {"tfmtl"}
    # The bridge to tensorflow-recommenders alone needs that package.
    found = {
        name
        for file, name in _imports("tfmtl")
        if name not in standard and "integrations" not in file.parts
    }
    assert found <= {"tensorflow", "keras", "numpy"}


def test_nobody_turns_legacy_keras_on():
    code = "import os, keras, tfmtl; print(os.environ.get('TF_USE_LEGACY_KERAS'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"
