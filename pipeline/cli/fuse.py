"""The command `fuse`."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import progress
from pipeline.artifacts import json_file
from pipeline.cli import output
from pipeline.errors import PipelineError
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces
from serving.quiet import import_tensorflow_quietly

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.fusion import Chosen, Wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `fuse`."""
    parser.add_argument(
        "--goal",
        action="append",
        required=True,
        metavar="NAME[=WEIGHT]",
        help="what the top of each list shall earn more of: a task, or a column of "
        "numbers; below 0 for less; may be repeated, for a weighted sum of the gains",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="'NAME>=SHARE'",
        help="what must not fall below (or, <=, rise above) a share of what the "
        "current weights earn, such as 'like>=0.99', in quotes; may be repeated",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="what a list is, such as the request or the user; defaults to "
        "evaluate.group",
    )
    parser.add_argument(
        "--top", type=int, default=10, help="places that count; defaults to 10"
    )
    parser.add_argument(
        "--form",
        choices=("product", "sum"),
        help="prod p^w or sum w*p; defaults to export.fused_score.form, else product",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        metavar="N",
        help="take whole groups of about N rows in all; defaults to 1000000",
    )
    parser.add_argument(
        "--tries", type=int, default=600, help="weights to try; defaults to 600"
    )
    parser.add_argument("--seed", type=int, default=0, help="defaults to 0")
    parser.add_argument("--output", metavar="DIR", help="defaults to WORKSPACE/fusion")


def fuse(args: argparse.Namespace, config: "Config") -> None:
    """Prints the weights for `export.fused_score` and what they are worth."""
    at_least, at_most = _bounds(args.keep)
    goal = _goal(args.goal)
    now = config.export.fused_score
    group = args.group or config.evaluate.group
    if not group:
        raise PipelineError(
            "--group: name the column of what a list is, such as the user, or set "
            "evaluate.group"
        )
    for name in ("top", "rows", "tries"):
        if getattr(args, name) < 1:
            raise PipelineError(
                f"--{name}: must be 1 or more. Received: {getattr(args, name)}"
            )
    import_tensorflow_quietly()
    from pipeline import fusion  # late, for it imports TensorFlow
    from pipeline.report.fusion import front

    wanted = fusion.Wanted(
        goal=goal,
        at_least=at_least,
        at_most=at_most,
        group=group,
        form=args.form or (now.form if now else "product"),
        top=args.top,
        rows=args.rows,
        tries=args.tries,
        seed=args.seed,
    )
    workspaces.metadata(Path(config.workspace))
    folder = output.folder(args.output or Path(config.workspace) / "fusion")
    with workspaces.reading([Path(config.workspace)]), progress.showing("fuse"):
        chosen = fusion.choose(config, wanted)
    record = fusion.record(chosen, wanted)
    json_file.write(folder / "fusion.json", record)
    print(f"model {chosen.model}")
    print(
        f"searched on {chosen.groups[0]:,} lists ({chosen.rows[0]:,} rows), confirmed "
        f"on {chosen.groups[1]:,} others ({chosen.rows[1]:,} rows) by {group}"
    )
    print(f"compared with the {wanted.form} of {chosen.current}")
    for line in _table(chosen, wanted):
        print(line)
    if chosen.found.chosen.weights == chosen.current:
        print("\nno better weights were found; keep the current ones")
    else:
        print(f"\nfor {args.config}:")
        print(*_yaml_lines(wanted.form, chosen.found.chosen.weights), sep="\n")
    print(f"\n{folder / 'fusion.json'}")
    (folder / "fusion.svg").write_text(front(record))
    mirror.give(folder, ["fusion.json", "fusion.svg"])
    print(folder / "fusion.svg")


def _table(chosen: "Chosen", wanted: "Wanted") -> Sequence[str]:
    """A line for each name: what the confirming lists earn."""
    lines = [f"{'':<20}{'searched':>10}{'confirmed':>11}  95 % interval"]
    names = dict.fromkeys([*wanted.goal, *wanted.at_least, *wanted.at_most])
    for name in [*names, *(n for n in chosen.gains if n not in names)]:
        gain = chosen.gains[name]
        searched = chosen.found.chosen.ratios.get(name, math.nan)
        if math.isnan(gain.low):
            span = f"{gain.rows} rows are too few to say"
        else:
            span = f"{gain.low:.3f} to {gain.high:.3f}"
        said = []
        if name in wanted.goal:
            weight = wanted.goal[name]
            sure = gain.low > 1 if weight > 0 else gain.high < 1
            said.append("goal: " + ("confirmed" if sure else "not confirmed"))
        for sign, bounds in ((">=", wanted.at_least), ("<=", wanted.at_most)):
            if name in bounds:
                said.append(f"{sign} {bounds[name]:g}: {chosen.verdict(name, wanted)}")
        if name not in names and gain.high < 1:
            said.append("less than now, and not kept")
        line = f"{name:<20}{searched:>10.3f}{gain.value:>11.3f}  {span:<18}"
        lines.append(f"{line}  {', '.join(said)}".rstrip())
    return lines


def _yaml_lines(form: str, weights: Mapping[str, float]) -> list[str]:
    """The lines for the config.

    Example:
        >>> for line in _yaml_lines("product", {"click": 0.75, "like": 0.25}):
        ...     print(line)
        export:
          fused_score: {form: product, weights: {click: 0.75, like: 0.25}}
    """
    listed = ", ".join(f"{name}: {weight!r}" for name, weight in weights.items())
    return ["export:", f"  fused_score: {{form: {form}, weights: {{{listed}}}}}"]


def _goal(texts: Sequence[str]) -> dict[str, float]:
    goal = {}
    for text in texts:
        name, _, weight = text.partition("=")
        goal[name] = _number("--goal", text, weight or "1")
    if not any(goal.values()):
        raise PipelineError("--goal: a weight other than 0 is needed")
    return goal


def _bounds(texts: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Returns {name: share} of the lower and of the upper bounds."""
    bounds = {">=": {}, "<=": {}}
    for text in texts:
        parts = re.fullmatch(r"\s*(.+?)\s*(>=|<=)\s*(\S+)\s*", text)
        if not parts:
            raise PipelineError(
                "--keep: write 'NAME>=SHARE' or 'NAME<=SHARE', in quotes, as a shell "
                f"takes > and < for files. Received: {text!r}"
            )
        share = _number("--keep", text, parts[3])
        if share <= 0:
            raise PipelineError(f"--keep: a share is above 0. Received: {text!r}")
        bounds[parts[2]][parts[1]] = share
    return bounds[">="], bounds["<="]


def _number(flag: str, text: str, number: str) -> float:
    try:
        found = float(number)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise PipelineError(f"{flag}: {number!r} is no number. Received: {text!r}")
    return found
