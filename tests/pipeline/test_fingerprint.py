import ast
import importlib.metadata
from pathlib import Path

import pytest

from pipeline import fingerprint

ROOT = Path(fingerprint.__file__).parent.parent


def test_all_imports_of_a_module_count():
    for package in ("pipeline", "serving", "tfmtl"):
        for file in (ROOT / package).rglob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found = fingerprint._imports(name.removesuffix(".__init__"))
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    assert {alias.name for alias in node.names} <= set(found), name
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{name}: a relative import is not found"
                    names = {f"{node.module}.{alias.name}" for alias in node.names}
                    assert {node.module, *names} <= {*found, f"{node.module}.*"}, name


_GIVEN = {"modules": ["pipeline.errors"], "depends": {"rows": 1}, "inputs": ["a/1"]}


@pytest.mark.parametrize(
    "change",
    [
        {"modules": ["pipeline.workspace.gc"]},
        {"modules": ["pipeline.errors", "pipeline.workspace.gc"]},
        {"depends": {"rows": 2}},
        {"inputs": ["a/2"]},
        {"inputs": ["a/1", "b/1"]},
    ],
)
def test_what_an_execution_is_made_from_counts(change):
    assert fingerprint.fingerprint(**_GIVEN) == fingerprint.fingerprint(**_GIVEN)
    assert fingerprint.fingerprint(**_GIVEN | change) != fingerprint.fingerprint(
        **_GIVEN
    )


@pytest.mark.parametrize("library", fingerprint._LIBRARIES)
def test_the_version_of_a_library_counts(library, monkeypatch):
    before, version = fingerprint.fingerprint(**_GIVEN), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda n: "0" if n == library else version(n)
    )
    assert fingerprint.fingerprint(**_GIVEN) != before


def test_of_a_users_package_what_is_imported_counts(tmp_path, monkeypatch):
    package = tmp_path / "shop_models"
    package.mkdir()
    (package / "ple.py").write_text("import numpy\nfrom .parts import gate\n")
    (package / "parts.py").write_text("def gate(): pass\n")
    (package / "other.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = fingerprint.code("shop_models.ple")
    for name, differs in (("other", False), ("parts", True)):
        (package / f"{name}.py").write_text("gate = 1\n")
        fingerprint.code.cache_clear()
        assert (fingerprint.code("shop_models.ple") != before) is differs, name


def test_a_module_of_the_users_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = set()
    for name in ("one_model", "another_model"):
        (tmp_path / f"{name}.py").write_text(f"name = {name!r}\n")
        digests.add(fingerprint.code(name))
    assert len(digests) == 2
