"""Census-Income by the protocol of MMoE and PLE: every architecture, and boosted trees.

    python benchmarks/census.py [--data DIR] [--seeds 0 1 2 3 4] [NAME ...]

Group 1: income above 50,000 dollars and never married, without education and marital
status as inputs. 199,523 rows train; the test file is split 1:1 at random (seed 0) into
a half for validation and one for test. Each architecture is trained by
configs/census.yaml, once a seed, with the options of census/architectures.yaml, which
give all of them about as many parameters. The epoch with the best validation loss is
kept; nothing is chosen by the test half, which is measured once all are trained.
LightGBM has the same columns and the same halves, one model a task, and stops early by
the validation AUC.

Prints a table, and writes it and results.json into the workspace: the mean AUC on the
test half over the seeds with its 95 % interval (Student's). A call goes on where an
earlier one stopped, and adds architectures to what is there.

It fails (exit status 1) if a threshold of census/gate.json is missed: `best` by the
architecture with the best validation loss, `published` by each architecture, less
`tolerance`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import environments
import yaml

from pipeline import config as configs
from pipeline.artifacts import json_file, layout
from pipeline.run import run
from pipeline.sweep.sweep import sweep

HERE = Path(__file__).parent / "census"
OPTIONS = yaml.safe_load((HERE / "architectures.yaml").read_text())
GATE = json.loads((HERE / "gate.json").read_text())
PACKAGES = ["lightgbm==4.6.0", "pandas==2.3.3", "pyarrow==21.0.0"]


def load(args: argparse.Namespace) -> configs.Config:
    """Returns configs/census.yaml with a sweep over the wanted architectures."""
    wanted = [{"name": name, **OPTIONS[name]} for name in args.names]
    section = {"architectures": wanted, "seeds": args.seeds, "trials": 1}
    changes = [f"workspace={args.workspace}", f"sweep={json.dumps(section)}"]
    if args.data:
        changes.append(f"data.options.data={args.data}")
    return configs.load(HERE.parent.parent / "configs" / "census.yaml", changes)


def trees(config: configs.Config, folder: Path) -> dict[str, dict[str, float]]:
    """Returns {"valid", "test": {task: AUC}} of LightGBM, once measured."""
    examples = run(config, until="ExampleGen", report=lambda line: None)["examples"]
    answer = folder / f"trees-{examples.name}.json"
    if not answer.is_file():
        folder.mkdir(exist_ok=True)
        request = {
            "splits": {s: str(layout.split(examples, s)) for s in layout.SPLITS},
            "features": {feature.name: feature.kind for feature in config.features},
            "tasks": [task.name for task in config.tasks],
        }
        asked = folder / "request.json"
        json_file.write(asked, request)
        python = environments.python(folder / "lightgbm", PACKAGES)
        worker = HERE / "lightgbm_worker.py"
        subprocess.run([python, worker, asked, answer], check=True)
    return json.loads(answer.read_text())


def table(board: dict[str, Any], of_trees: dict[str, Any]) -> str:
    """Returns the results in Markdown, the best validation loss first."""
    tasks = [task["name"] for task in board["tasks"]]
    lines = [
        f"| | parameters | {' | '.join(f'{t}, test' for t in tasks)} | seeds |",
        "|---|---|" + "---|" * len(tasks) + "---|",
    ]
    for model in board["models"]:
        cells = [_cell(model["test"][task]) for task in tasks]
        seeds = len(model["models"])
        lines.append(
            f"| {model['architecture']} | {model['parameters']:,} | "
            f"{' | '.join(cells)} | {seeds} |"
        )
    cells = [f"{of_trees['test'][task]:.5f}" for task in tasks]
    lines.append(f"| LightGBM | | {' | '.join(cells)} | 1 |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['mean']:.5f}"
    half = (found["high"] - found["low"]) / 2
    return f"{found['mean']:.5f} ± {half:.5f}"


def missed(board: dict[str, Any], gate: dict[str, Any]) -> list[str]:
    """Returns a line for each threshold that the mean over the seeds is below."""
    best, *_ = board["models"]
    least = [(best, task, value) for task, value in gate["best"].items()]
    for model in board["models"]:
        published = gate["published"].get(model["architecture"], {})
        least += [(model, t, v - gate["tolerance"]) for t, v in published.items()]
    return [
        f"{model['architecture']} {task}: {model['test'][task]['mean']:.5f} is below "
        f"{value:.5f}"
        for model, task, value in least
        if model["test"][task]["mean"] < value
    ]


def main(argv: list[str] | None = None) -> int:
    """Trains what is missing and prints the table; returns 1 if the gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(OPTIONS)}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--data", type=Path, metavar="DIR", help="with UCI's two files")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/census"
    )
    args = parser.parse_args(argv)
    unknown = set(args.names) - set(OPTIONS)
    if unknown:
        parser.error(f"NAME must be one of {', '.join(OPTIONS)}; not {unknown}")
    args.names = args.names or list(OPTIONS)
    config = load(args)
    board = sweep(config, args.jobs)
    of_trees = trees(config, args.workspace / "trees")
    written = table(board, of_trees)
    results = {"models": board["models"], "trees": of_trees, "seeds": args.seeds}
    json_file.write(args.workspace / "results.json", results)
    (args.workspace / "results.md").write_text(written)
    faults = missed(board, GATE)
    print("\n" + written + "".join(f"\nMISSED {line}" for line in faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
