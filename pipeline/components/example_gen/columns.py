"""Do the logs have the columns that the config names, with types that can be used?"""

from collections.abc import Iterator, Sequence

from pipeline.components.example_gen.spec import Spec
from pipeline.errors import PipelineError
from pipeline.logs.inspect import LogSchema, missing, unread
from pipeline.logs.values import column_types


def check_columns(spec: Spec, logs: LogSchema, actions: Sequence[LogSchema]) -> None:
    """Raises a PipelineError for all columns that the logs lack.

    Args:
        spec: Says which columns are needed.
        logs: What there is in the impressions.
        actions: What there is in each log of `data.actions`.
    """
    data, made = spec.data, spec.data.made()
    needed = [(path, name) for path, name, _ in spec.named]
    others = {name: " It is made here, of the columns of the logs" for name in made}
    others |= {
        action.name: f" The action {action.name!r} makes it if it has a `window`"
        for action in data.actions
        if action.window is None
    }
    problems = unread("data.logs", logs)
    problems = problems or missing(logs, [*needed, *data.needed()], others)
    for i, log in enumerate(actions):
        nothing = unread(f"data.actions.{i}.logs", log)
        problems += nothing or missing(log, data.needed_of(i), {})
    problems += [
        f"features: {new!r} is the column {old!r}, and the logs have a column {new!r}, "
        "too. Give the feature another name"
        for new, old in spec.renamed.items()
        if new in logs.types and new != old
    ]
    taken = [name for name in made if name in logs.types]
    problems += [
        f"data: {name!r} is to be a new column, and the logs have one of that name. "
        "Give it another name"
        for name in taken
    ]
    problems = problems or list(_misfits(spec, logs, actions))
    if problems:
        raise PipelineError("\n".join(problems))


def _misfits(
    spec: Spec, logs: LogSchema, actions: Sequence[LogSchema]
) -> Iterator[str]:
    """Yields what is to be said of columns whose types can hold nothing of use."""
    data = spec.data
    wanted = []
    if data.split.by == "time":
        wanted.append((logs, "data.split.column", data.split.column, "time"))
    if data.time:
        wanted.append((logs, "data.time", data.time, "time"))
    known = {path for _, path, *_ in wanted}
    wanted += [(logs, *column) for column in spec.named if column[0] not in known]
    for i, (action, log) in enumerate(zip(data.actions, actions, strict=True)):
        path = f"data.actions.{i}"
        wanted += [(logs, f"{path}.key", name, "string") for name in action.key]
        wanted += [(log, f"{path}.key", name, "string") for name in action.key.values()]
        wanted.append((log, f"{path}.time", action.time, "time"))
    for log, path, name, kind in wanted:
        for file in log.files:
            type_ = log.found[file.path].get(name)
            if type_ is not None and (reason := column_types.misfit(type_, kind)):
                yield (
                    f"{path}: column {name!r} is {reason}. Write the logs with such a "
                    f"column ({file.path})"
                )
                break
