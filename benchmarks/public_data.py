"""Public data: architectures of ours, and boosted trees, by a fixed protocol.

    python benchmarks/public_data.py SET [NAME ...] --data DIR [--seeds 0 1 2]

SET is one of public_data/*.yaml, and the data, features, tasks, splits and settings of
the training are those of configs/SET.yaml. Each of the set's `architectures` is trained
once a seed, with the options there, which give all of them about as many parameters.
The epoch with the best validation loss is kept; nothing is chosen by the test split,
which is measured once all are trained. LightGBM has the same columns and the same
splits, one model a task, and stops early on the validation split.

Prints a table, and writes it and results.json into the workspace: AUC, or Spearman's
correlation of a regression, on the test split, as the mean over the seeds with its 95 %
interval (Student's); and, in the last line, half the width of the interval by the test
rows, of the best model's first seed. A call goes on where an earlier one stopped, and
adds architectures to what is there.

It fails (exit status 1) if a threshold of the set's `gate` is missed: `best` by the
architecture with the best validation loss, `published` by each architecture, less
`tolerance`.
"""

import argparse
import json
import os
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

HERE = Path(__file__).parent / "public_data"
SETS = sorted(path.stem for path in HERE.glob("*.yaml"))
PACKAGES = ["lightgbm==4.6.0", "pandas==2.3.3", "pyarrow==21.0.0"]


def options_of(name: str) -> dict[str, Any]:
    """Returns {"architectures": {name: options}, "gate": thresholds} of a set."""
    return yaml.safe_load((HERE / f"{name}.yaml").read_text())


def load(args: argparse.Namespace, options: dict[str, Any]) -> configs.Config:
    """Returns the set's config with a sweep over the wanted architectures."""
    wanted = [{"name": name, **options[name]} for name in args.names]
    section = {"architectures": wanted, "seeds": args.seeds, "trials": 1}
    changes = [f"workspace={args.workspace}", f"sweep={json.dumps(section)}", *args.set]
    if args.data:
        os.environ["DATA"] = str(args.data)
        changes += ["data.options.data=${DATA}"] if args.name == "census" else []
    return configs.load(HERE.parent.parent / "configs" / f"{args.name}.yaml", changes)


def trees(config: configs.Config, folder: Path) -> dict[str, dict[str, float]]:
    """Returns {"valid", "test": {task: metric}} of LightGBM, once measured."""
    examples = run(config, until="ExampleGen", report=lambda line: None)["examples"]
    answer = folder / f"trees-{examples.name}.json"
    if not answer.is_file():
        folder.mkdir(exist_ok=True)
        asked = folder / "request.json"
        json_file.write(asked, request(config, examples))
        python = environments.python(folder / "lightgbm", PACKAGES)
        worker = HERE / "lightgbm_worker.py"
        subprocess.run([python, worker, asked, answer], check=True)
    return json.loads(answer.read_text())


def request(config: configs.Config, examples: Path) -> dict[str, Any]:
    """Returns what lightgbm_worker.py is asked for."""
    tasks = {task.name: task for task in config.tasks}

    def spaces(task):
        if task.space not in tasks:
            return [task.space] if task.space else []
        given = tasks[task.space]
        return [given.label or given.name, *spaces(given)]

    return {
        "splits": {s: str(layout.split(examples, s)) for s in layout.SPLITS},
        "features": [
            {"name": f.name, "kind": f.kind, "of": getattr(f, "of", None)}
            for f in config.features
        ],
        "tasks": [
            {
                "name": task.name,
                "label": task.label or task.name,
                "kind": task.kind,
                "spaces": spaces(task),
            }
            for task in config.tasks
        ],
    }


def table(board: dict[str, Any], of_trees: dict[str, Any]) -> str:
    """Returns the results in Markdown, the best validation loss first."""
    tasks = [task["name"] for task in board["tasks"]]
    lines = [
        f"| | parameters | {' | '.join(tasks)} | seeds |",
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
    best = board["models"][0]["test"]
    cells = [_of_rows(best[task]) for task in tasks]
    lines.append(f"| *by the test rows* | | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['mean']:.5f}"
    half = (found["high"] - found["low"]) / 2
    return f"{found['mean']:.5f} ± {half:.5f}"


def _of_rows(found: dict[str, Any]) -> str:
    if not found["of_rows"] or not found["of_rows"][0]:
        return "too few"
    low, high = found["of_rows"][0]
    return f"± {(high - low) / 2:.4f}"


def missed(board: dict[str, Any], gate: dict[str, Any]) -> list[str]:
    """Returns a line for each threshold that the mean over the seeds is below."""
    best, *_ = board["models"]
    least = [(best, task, value) for task, value in gate["best"].items()]
    for model in board["models"]:
        published = gate.get("published", {}).get(model["architecture"], {})
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
    parser.add_argument("name", metavar="SET", choices=SETS, help=", ".join(SETS))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="architectures; without, all"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, metavar="DIR", help="with the set's files")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the config"
    )
    parser.add_argument("--workspace", type=Path, help="workspace/SET-benchmark")
    args = parser.parse_intermixed_args(argv)
    of_set = options_of(args.name)
    options = of_set["architectures"]
    if unknown := set(args.names) - set(options):
        parser.error(f"NAME must be one of {', '.join(options)}; not {unknown}")
    args.names = args.names or list(options)
    folder = args.workspace or Path("workspace") / f"{args.name}-benchmark"
    args.workspace = folder.resolve()
    config = load(args, options)
    board = sweep(config, args.jobs)
    of_trees = trees(config, args.workspace / "trees")
    written = table(board, of_trees)
    results = {"models": board["models"], "trees": of_trees, "seeds": args.seeds}
    json_file.write(args.workspace / "results.json", results)
    (args.workspace / "results.md").write_text(written)
    faults = missed(board, of_set["gate"])
    print("\n" + written + "".join(f"\nMISSED {line}" for line in faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
