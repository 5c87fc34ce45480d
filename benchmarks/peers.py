"""Training throughput of the same models in tfmtl, torch-rechub and DeepCTR.

    python benchmarks/peers.py --census DIR [--case NAME ...] [--repeats 9]

DIR holds census-income.data.gz. Every library works in a process of its own, on two
threads, on the same prebatched rows in memory, by its own training loop; the runs take
turns (A B C A B C ...). Prints examples a second and how many times as fast tfmtl is
(medians of the turns), by the clock, which counts, and by CPU time, which other work on
the machine disturbs less.

Cases: Census-Income (group 1 of the MMoE protocol: 31 features of dimension 8, 7
numbers, 2 tasks), batch 1024 and 8192, Adam: PLE, MMoE and Shared-Bottom. `tables`: 26
features with tables of 100,000 x 16, ids drawn uniformly, 13 numbers, 3 tasks, PLE,
batch 1024: tfmtl's LazyAdam beside dense and sparse Adam of torch-rechub, and Keras's.

tfmtl has `jit_compile=True` and runs 8 steps between callbacks (`steps_per_execution`),
DeepCTR is as it is shipped; "adam+8+jit" is DeepCTR with both, for comparison.
torch-rechub has biases in its gates, which the others lack; parameters are otherwise
the same. Its batch norm is off but for "as shipped". tfmtl counts AUC in training and
masks labels, as always; the others do neither.

It fails (exit status 1) if, at batch 1024, tfmtl does not reach 1.8 times torch-rechub
and 1.25 times DeepCTR on Census, or, on `tables`, 3.5 times torch-rechub as shipped,
1.25 times its sparse embeddings with SparseAdam, 2.5 times Keras's Adam; or if
parameters differ by more than 1 %.

The peers are installed under --workspace at the first run (about 4 GB).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import environments
from peers import tables

HERE = Path(__file__).parent
PEERS = {
    "torch_rechub": ["torch==2.13.0", "torch-rechub==0.9.0"],
    "deepctr": ["tensorflow==2.21.0", "tf-keras==2.21.0", "deepctr==0.9.4"],
}
PLE = {
    "architecture": "ple",
    "options": {
        "task_experts": 2,
        "shared_experts": 2,
        "expert_units": [[128], [64]],
    },
    "tower": [32],
}
MMOE = {
    "architecture": "mmoe",
    "options": {"experts": 8, "expert_units": [128, 64]},
    "tower": [32],
}
SHARED_BOTTOM = {
    "architecture": "shared_bottom",
    "options": {"units": [256, 128]},
    "tower": [64],
}
# What is compared: (worker, variant) -> the least ratio of the first one to it.
CENSUS = {
    ("tfmtl", "adam"): None,
    ("torch_rechub", "adam+nobn"): 1.8,
    ("deepctr", "adam"): 1.25,
    ("deepctr", "adam+8+jit"): None,
}
TABLES = {
    ("tfmtl", "lazy_adam"): None,
    ("torch_rechub", "adam"): 3.5,
    ("torch_rechub", "sparse+nobn"): 1.25,
    ("tfmtl", "adam"): 2.5,
}
WITH_BATCH_NORM = {("torch_rechub", "adam")}
LARGEST_DIFFERENCE = 0.01  # of parameters
CASES = {
    f"{case['architecture']}-{batch}": (case, "census", batch, CENSUS)
    for batch in (1024, 8192)
    for case in (PLE, MMOE, SHARED_BOTTOM)
} | {"tables": (PLE, "tables", 1024, TABLES)}


class Worker:
    """A library's process, asked one thing at a time."""

    def __init__(self, name: str, workspace: Path):
        python = sys.executable
        if name in PEERS:
            # torch first: it is not to be replaced by what another package asks for.
            groups = [[package] for package in PEERS[name]]
            python = environments.python(workspace / name, *groups)
        self.log = workspace / f"{name}.log"
        answers, theirs = os.pipe()
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [python, HERE / "peers" / f"{name}_worker.py", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                text=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "2",
                    # Else torch's threads spin for cores that other processes hold.
                    "OMP_WAIT_POLICY": "PASSIVE",
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                    "PYTHONPATH": str(HERE.parent) if name == "tfmtl" else "",
                },
            )
        os.close(theirs)
        self.answers = os.fdopen(answers)

    def ask(self, request: dict) -> dict:
        """Sends a request; returns the answer."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.answers.readline()
        if not answer:
            sys.exit(f"The worker died; see {self.log}.")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.answers.close()
        self.process.wait()


def measure(name: str, args: argparse.Namespace) -> bool:
    """Runs one case and prints its table; returns whether something was missed."""
    case, data, batch, contestants = CASES[name]
    workers, parameters = {}, {}
    for library, variant in contestants:
        worker = workers[library, variant] = Worker(library, args.workspace)
        request = {
            **case,
            "data": str(args.workspace / data),
            "batch": batch,
            "variant": variant + (args.jit if library == "tfmtl" else ""),
        }
        parameters[library, variant] = worker.ask({"build": request})["parameters"]
    speeds = {contestant: [] for contestant in workers}
    for _ in range(args.repeats):
        for contestant, worker in workers.items():
            speeds[contestant].append(worker.ask({"run": args.seconds}))
    for worker in workers.values():
        worker.close()
    missed = False
    ours = next(iter(contestants))
    print(f"\n{name:<28}examples/s   ratio  at least     of CPU time   parameters")
    for contestant, least in contestants.items():
        speed = statistics.median(run["wall"] for run in speeds[contestant])
        ratio, of_cpu = (
            statistics.median(
                mine[clock] / other[clock]
                for mine, other in zip(speeds[ours], speeds[contestant], strict=True)
            )
            for clock in ("wall", "cpu")
        )
        bound = ""
        if least and batch == 1024:
            bound = f"{least:4.2f} {'passed' if ratio >= least else 'MISSED'}"
            missed |= ratio < least
        line = f"  {' '.join(contestant):<26}{speed:>10,.0f}  {ratio:6.2f}  {bound:<12}"
        line += f"  {of_cpu:10.2f}  {parameters[contestant]:>11,}"
        difference = parameters[contestant] / parameters[ours] - 1
        if abs(difference) > LARGEST_DIFFERENCE:
            line += f" ({difference:+.1%})"
            missed |= contestant not in WITH_BATCH_NORM
        print(line, flush=True)
    return missed


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--census", type=Path, metavar="DIR", required=True)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="least length of a turn"
    )
    parser.add_argument("--jit", choices=["on", "off"], default="on", help="in tfmtl")
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/peers"
    )
    args = parser.parse_args(argv)
    args.jit = "+jit" if args.jit == "on" else ""
    args.workspace.mkdir(parents=True, exist_ok=True)
    tables.census(args.census, args.workspace / "census", rows=65_536)
    tables.uniform(args.workspace / "tables", rows=16_384, features=26, table=100_000)
    return int(any([measure(name, args) for name in args.case]))


if __name__ == "__main__":
    sys.exit(main())
