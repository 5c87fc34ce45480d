"""What the commands say of what is installed."""

import subprocess
import sys

import pytest

import pipeline.__main__
import serving.__main__
import tfmtl
from serving.cli import installation

# Runs a command as if a module were not installed.
_WITHOUT = """
import runpy, sys
package, module = sys.argv[1], sys.argv[1:].pop(1)
sys.modules[package] = None
sys.argv[:3] = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("command", [pipeline.__main__, serving.__main__])
def test_version(command, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--version"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert f"tfmtl {tfmtl.__version__}" in told and "tensorflow 2." in told


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("pydantic", ["pipeline", "runs", "shop.yaml"], "pipeline"),
        ("apache_beam", ["pipeline", "run", "configs/feed.yaml", "--x=1"], "pipeline"),
        ("requests", ["serving", "check"], "serving"),
    ],
)
def test_what_is_missing(package, command, extra):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, package, *command],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"error: the package {package!r} is not installed. This command needs the "
        f"extra `{extra}`: pip install 'tfmtl[{extra}]'\n"
    )


def test_a_module_of_ours_that_is_missing_is_a_fault():
    error = ModuleNotFoundError("no such module", name="serving.nothing")
    with pytest.raises(ModuleNotFoundError):
        installation.missing(error, "serving")
