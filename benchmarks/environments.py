"""Virtual environments for the peers, each made when it is first asked for."""

import subprocess
import venv
from collections.abc import Iterable
from pathlib import Path


def python(folder: Path, *groups: Iterable[str]) -> str:
    """Returns the Python of an environment with packages.

    Args:
        folder: Of the environment.
        groups: Packages that are installed together, group by group.
    """
    executable = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True)
        for packages in groups:
            command = [executable, "-m", "pip", "install", "-q", *packages]
            subprocess.run(command, check=True)
        done.touch()
    return str(executable)
