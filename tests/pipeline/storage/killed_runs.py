"""Runs a pipeline in a store, killed in each stage, and looks at what a reader sees.

    python killed_runs.py FOLDER WORKSPACE ON_DISK

Each run is a process of its own, made by a fork, so that TensorFlow is loaded once.
"""

import json
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

import small_feed

from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.run import run
from pipeline.stages import stages
from pipeline.storage import mirror, remote
from pipeline.workspace import lock as workspaces
from serving.quiet import import_tensorflow_quietly

# Where a run is killed: in the midst of a stage, when its files are in the store but
# not the marker, or when that is there but no record of it.
WRITING, HALF, WHOLE = "writing", "half", "whole"


def _config(workspace):
    values = {
        **small_feed.SMALL,
        "data.options": "{impressions: 6000, seed: 7}",
        "train.epochs": 1,
        "train.batch_size": 256,
        "train.schedule": "cosine",
        "train.deterministic": "true",
        "infra.max_latency_ms": "null",  # this machine may be slow
        "evaluate.default_rules": "[]",  # too few rows to be better than the mean
        "evaluate.importance": "null",
        "workspace": workspace,
        "push.destination": f"{workspace}/served",
    }
    overrides = [f"{key}={value}" for key, value in values.items()]
    return configs.load(small_feed.FEED, overrides)


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(component, where):
    """Lets this process kill itself there."""
    if where == WRITING:
        parts = f"/{component}/", ".tmp/"

        def watch(event, arguments):
            if event == "open" and all(p in str(arguments[0]) for p in parts):
                _kill()

        sys.addaudithook(watch)
        push = mirror.push
        # What is written by libraries in C++ is not heard of.
        mirror.push = lambda folder, path: (
            _kill() if parts[0] in str(path) else push(folder, path)
        )
        return
    write = remote.write

    def watched(url, content):
        is_marker = f"/{component}/" in url and url.endswith(mirror.MANIFEST)
        if is_marker and where == HALF:
            _kill()
        write(url, content)
        if is_marker:
            _kill()

    remote.write = watched


def _in_a_process(function, *args):
    """Calls a function in a fork; returns the signal that ended it, 0 for none."""
    process = os.fork()
    if not process:
        try:
            function(*args)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run(workspace, lines, component=None, where=None):
    if component:
        _arm(component, where)
    with open(lines, "w") as file:

        def report(line):
            print(line, file=file, flush=True)

        artifacts = run(_config(workspace), report=report)
    found = artifacts["evaluation"] / layout.METRICS
    lines.with_suffix(".metrics").write_text(found.read_text())


def _read(folder, workspace, found):
    """Takes all artifacts of which another machine knows; each has to be whole."""
    os.environ["TFMTL_MIRROR"] = str(folder / "reader")
    place = mirror.place(workspace)
    names = []
    if workspaces.has_run(place):
        store = workspaces.metadata(place)
        for execution in store.executions(state="complete"):
            for artifact in store.outputs(execution.id):
                mirror.pull(artifact.path)
                names.append(f"{execution.component}/{artifact.name}")
    found.write_text(json.dumps(names))


def main(folder, workspace, on_disk):
    warnings.simplefilter("ignore")
    import_tensorflow_quietly()
    answer = {"killed": [], "disk": _in_a_process(_run, on_disk, folder / "disk")}
    for number, stage in enumerate(stages(_config(workspace))):
        for where in (WRITING, (HALF, WHOLE)[number % 2]):  # each run takes its time
            lines, names = folder / "lines", folder / "names"
            ended = _in_a_process(_run, workspace, lines, stage.component, where)
            read = _in_a_process(_read, folder, workspace, names)
            answer["killed"].append(
                {
                    "component": stage.component,
                    "where": where,
                    "ended": ended,
                    "read": read,
                    "lines": lines.read_text().splitlines(),
                    "names": json.loads(names.read_text()),
                }
            )
    answer["last"] = _in_a_process(_run, workspace, folder / "last")
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
