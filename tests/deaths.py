"""Processes that are killed as a worker is about to give a file its name.

Nothing else says for sure that a worker is in the middle of its work.
"""

import importlib.util

# Python imports it at the start of each worker. The process to be killed is that in
# the file `victim`, or else the worker.
_AT_START = """\
import os
import pathlib
import signal

FOLDER = pathlib.Path(__file__).parent
replace = os.replace


def killing(source, target, **options):
    for stage in {stages}:
        if f"/{{stage}}/" in str(target):
            try:
                (FOLDER / f"{{stage}}.died").touch(exist_ok=False)
            except FileExistsError:  # once a stage
                continue
            victim = FOLDER / "victim"
            pid = int(victim.read_text()) if victim.exists() else os.getpid()
            os.kill(pid, signal.SIGKILL)
    return replace(source, target, **options)


os.replace = killing
"""


def prepare(folder, stages):
    """Returns a folder that workers must have in PYTHONPATH."""
    assert importlib.util.find_spec("sitecustomize") is None
    found = folder / "deaths"
    found.mkdir()
    (found / "sitecustomize.py").write_text(_AT_START.format(stages=tuple(stages)))
    return found


def died(folder):
    """The stages in which something was killed."""
    return {path.stem for path in folder.glob("*.died")}
