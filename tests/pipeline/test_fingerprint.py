import ast
from pathlib import Path

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
