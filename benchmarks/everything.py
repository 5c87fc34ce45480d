"""All benchmarks, or a quick form of each, one after the other.

    python benchmarks/everything.py --data DIR             # `make bench`: hours
    python benchmarks/everything.py --quick --data DIR     # `make bench-quick`: minutes
    python benchmarks/everything.py step peers --data DIR  # two of them

What each prints goes to NAME.txt in --output, with the machine's facts and the command
above it; what has ended well is not run again, so a call goes on where an earlier one
stopped. A quick form shows that a benchmark works, and orders of size; its figures are
not those of docs/benchmarks.md.

DIR holds a folder for each public data set (docs/recipes says where they are from);
those that need one which is not there are left out, and said at the end.

It fails (exit status 1) if a benchmark does: a threshold that is missed, or an error.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PUBLIC = {
    "census": "census_income",
    "hillstrom": "hillstrom",
    "kuairand": "kuairand",
    "deskdrop": "deskdrop",
    "epinions": "epinions",
}


class Benchmark(NamedTuple):
    """A command line.

    Attributes:
        arguments: The script and what it is given.
        quick: The same in short; None where there is no short form.
        data: The folder of the data set that it needs, in place of DATA.
    """

    arguments: str
    quick: str | None
    data: str | None = None


BENCHMARKS = {
    **{
        f"public_data_{name}": Benchmark(
            f"public_data.py {name} --seeds 0 1 2 3 4 --data DATA",
            "public_data.py hillstrom single_task shared_bottom --seeds 0 --data DATA"
            if name == "hillstrom"
            else None,
            folder,
        )
        for name, folder in PUBLIC.items()
    },
    "synthetic_mmoe": Benchmark(
        "synthetic.py",
        "synthetic.py mmoe --correlations 0.5 --seeds 0 --rows 10000",
    ),
    "synthetic_ple": Benchmark("synthetic.py --recipe ple", None),
    "label_pairs": Benchmark(
        "label_pairs.py",
        "label_pairs.py --variants full --pairs related --seeds 0 --rows 10000",
    ),
    "architectures": Benchmark(
        "architectures.py", "architectures.py ple --impressions 10000 --epochs 1"
    ),
    "activations": Benchmark(
        "activations.py", "activations.py shared_bottom --impressions 10000"
    ),
    "feed_quality": Benchmark("feed_quality.py", None),
    "losses": Benchmark(
        "losses.py", "losses.py --only focal --seeds 0 --impressions 10000"
    ),
    "sequences": Benchmark("sequences.py", None),
    "sequences_kuairand": Benchmark(
        "sequences.py kuairand --data DATA", None, PUBLIC["kuairand"]
    ),
    "sequences_cost": Benchmark("sequences.py --cost", "sequences.py --cost 20"),
    "step": Benchmark("step.py", "step.py shared_bottom --tasks 4 --turns 1"),
    "defaults": Benchmark("defaults.py", "defaults.py mmoe --turns 1"),
    "balancing_cost": Benchmark(
        "balancing_cost.py",
        "balancing_cost.py --only famo --rounds 1 --steps 5",
    ),
    "table_size": Benchmark(
        "table_size.py",
        "table_size.py --rows 1000 100000 --optimizer lazy_adam --repeats 2",
    ),
    "compact_tables": Benchmark(
        "compact_tables.py",
        "compact_tables.py --seeds 0 --set data.options.impressions=10000",
    ),
    "sharded_tables": Benchmark(
        "sharded_tables.py", "sharded_tables.py --rows 20000 --turns 2"
    ),
    "input_pipeline": Benchmark(
        "input_pipeline.py --census DATA", None, PUBLIC["census"]
    ),
    "peers": Benchmark("peers.py --census DATA", None, PUBLIC["census"]),
    "preprocess": Benchmark("preprocess.py --census DATA", None, PUBLIC["census"]),
    "preprocess_scale": Benchmark(
        "preprocess.py --scale", "preprocess.py --scale --rows 50000"
    ),
    "joins": Benchmark("joins.py", "joins.py --rows 50000 --actions 20000"),
    "stages": Benchmark("stages.py", "stages.py --rows 20000"),
    "engines": Benchmark(
        "engines.py", "engines.py --rows 5000 --engines local processes"
    ),
    "predict": Benchmark("predict.py", "predict.py --rows 20000 --turns 1"),
    "embedded_server": Benchmark(
        "embedded_server.py", "embedded_server.py --turns 1 --table 0"
    ),
}


def machine() -> str:
    """Returns what figures of speed depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = next((n for n in names.splitlines() if n.startswith("model name")), ":")
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} x {model.split(':')[1].strip() or platform.machine()}, "
        f"{gigabytes:.0f} GB, load {os.getloadavg()[0]:.1f}, {platform.platform()}, "
        f"Python {platform.python_version()}"
    )


def run(name: str, arguments: str, file: Path) -> bool:
    """Runs one and keeps what it prints; returns whether it has ended well."""
    command = [sys.executable, *shlex.split(f"{HERE}/{arguments}")]
    started, part = time.monotonic(), file.with_suffix(".part")
    with part.open("w") as output:
        print(
            f"# {machine()}\n$ python benchmarks/{arguments}", file=output, flush=True
        )
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        ).returncode
    seconds = time.monotonic() - started
    failed = file.with_suffix(".failed.txt")
    failed.unlink(missing_ok=True)
    kept = part.rename(failed if status else file)
    verdict = "ended well" if status == 0 else f"FAILED with status {status}"
    print(f"{name:<22} {verdict}, {seconds:,.0f} s: {kept}", flush=True)
    return status == 0


def main(argv: list[str] | None = None) -> int:
    """Runs what is missing; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("workspace/benchmarks"))
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(BENCHMARKS):
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}. There are {', '.join(BENCHMARKS)}"
        )
    folder = args.output / "quick" if args.quick else args.output
    folder.mkdir(parents=True, exist_ok=True)
    failed, lacking = False, []
    for name in args.names or BENCHMARKS:
        benchmark, file = BENCHMARKS[name], folder / f"{name}.txt"
        arguments = benchmark.quick if args.quick else benchmark.arguments
        if arguments is None:
            continue
        if file.exists():
            print(f"{name:<22} has ended well before: {file}", flush=True)
            continue
        if benchmark.data:
            data = args.data and (args.data / benchmark.data).absolute()
            if not data or not data.is_dir():
                lacking.append(f"{name} ({benchmark.data})")
                continue
            arguments = arguments.replace("DATA", shlex.quote(str(data)))
        failed |= not run(name, arguments, file)
    if lacking:
        print(f"not run, for lack of a folder in --data: {', '.join(lacking)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
