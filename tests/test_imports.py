"""Imports run one way; the contracts stand in pyproject.toml."""

import ast
import importlib
import os
import subprocess
import sys

from paths import ROOT


def test_imports_run_one_way():
    code = "from importlinter import cli; cli.lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def _imports(package):
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                yield file, node.module.split(".")[0]


def test_the_library_needs_only_tensorflow_keras_and_numpy():
    standard = sys.stdlib_module_names | {"tfmtl"}
    # The bridge to tensorflow-recommenders alone needs that package, a plot matplotlib.
    found = {
        name
        for file, name in _imports("tfmtl")
        if name not in standard
        and "integrations" not in file.parts
        and (file.name, name) != ("gate_report.py", "matplotlib")
    }
    assert found <= {"tensorflow", "keras", "numpy"}


def test_nobody_turns_legacy_keras_on():
    for package in ("keras", "tfmtl", "pipeline", "serving"):
        importlib.import_module(package)
    assert "TF_USE_LEGACY_KERAS" not in os.environ
