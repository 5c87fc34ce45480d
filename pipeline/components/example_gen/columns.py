"""Do the logs have the columns that the config names, with types that can be used?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.components.example_gen.inspect import LogSchema
from pipeline.components.example_gen.spec import Spec
from pipeline.errors import PipelineError, nearest
from pipeline.logs import column_types
from pipeline.logs.files import LISTS_COLUMNS


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
    problems = _unread("data.logs", logs)
    problems = problems or _missing(logs, [*needed, *data.needed()], others)
    for i, log in enumerate(actions):
        unread = _unread(f"data.actions.{i}.logs", log)
        problems += unread or _missing(log, data.needed_of(i), {})
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
    wanted = [(logs, *column) for column in spec.named]
    if data.split.by == "time":
        wanted.append((logs, "data.split.column", data.split.column, "time"))
    if data.time:
        wanted.append((logs, "data.time", data.time, "time"))
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


def _unread(where: str, log: LogSchema) -> list[str]:
    """What is to be said of a log in which no column was found."""
    if log.types:
        return []
    return [
        f"{where}: no row can be read in any of {len(log.files)} files, such as "
        f"{log.files[0].path}. JSON Lines have an object in each line, without a list "
        "around them"
    ]


def _missing(
    log: LogSchema, needed: Iterable[tuple[str, str]], others: Mapping[str, str]
) -> list[str]:
    """What is to be said of columns that a log lacks.

    Args:
        log: The log.
        needed: (YAML path, column).
        others: Further names that may have been meant, and what is to be said where
            one stands that cannot be used there.
    """
    problems = []
    for path, name in dict.fromkeys(needed):
        lacking = [
            file
            for file in log.files
            if name not in log.found[file.path]
            # In the other formats a row may leave out what it does not have.
            and (name not in log.types or file.format in LISTS_COLUMNS)
        ]
        if lacking:
            where = ", ".join(file.path for file in lacking[:3])
            known = {*log.types, *others} - {name}
            hint = others.get(name) or nearest(name, sorted(known))
            problems.append(
                f"{path}: {len(lacking)} of {len(log.files)} files have no column "
                f"{name!r}.{hint} ({where}"
                f"{', ...' if len(lacking) > 3 else ''})"
            )
    if problems:
        problems.append(f"Columns found: {', '.join(log.types)}")
    return problems
