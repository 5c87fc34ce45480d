"""Expressions on columns, such as `watch_seconds > 0.5 * duration`: the language.

The text is Python's, parsed by `ast` and held to a list of what is allowed; nothing is
ever run as Python. `pipeline.logs.evaluation` gives the values.

| written                         | meaning                                          |
|---------------------------------|--------------------------------------------------|
| `rating`, `column("my rating")` | a column's number                                |
| `4`, `0.5`, `True`              | a number; True is 1                              |
| `+ - * / %`                     | arithmetic; a division by zero is null           |
| `< <= > >= == !=`               | 1 or 0; may be chained, `0 < x <= 5`             |
| `event == "like"`               | a column's text, compared with a text            |
| `x in (1, 2)`, `e not in ("a",)`| one of these numbers, or of these texts          |
| `and or not`                    | of numbers that are true where they are not 0    |
| `a if x > 0 else b`             | a or b                                           |
| `abs min max log1p`             | of numbers                                       |
| `is_null(x)`, `coalesce(x, 0)`  | is it missing; the first that is not             |

Null in, null out: what is made from a missing value is missing, be it by `or`. Only
`is_null`, `coalesce` and the branch that `if` does not choose are exempt.
"""

import ast
from collections.abc import Iterator

FUNCTIONS = {"abs": 1, "log1p": 1, "is_null": 1, "min": None, "max": None}
FUNCTIONS |= {"coalesce": None, "column": 1}  # name -> arguments; None: two or more
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_MEMBERSHIP = (ast.In, ast.NotIn)


def parse(text: str) -> ast.expr:
    """Parses an expression.

    Args:
        text: The expression.

    Returns:
        The tree, of allowed nodes only.

    Raises:
        ValueError: If it is no expression, or has in it what is not allowed.

    >>> columns(parse("watch_seconds > 0.5 * duration"))
    ['watch_seconds', 'duration']
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree)
    except SyntaxError as error:
        raise ValueError(
            f"{text!r} is not an expression: {error.msg} at character {error.offset}"
        ) from None
    except (RecursionError, MemoryError):
        raise ValueError("the expression is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{error}. Received: {text!r}") from None
    if not columns(tree):
        raise ValueError(f"an expression must name a column. Received: {text!r}")
    return tree


def columns(tree: ast.expr) -> list[str]:
    """The columns that an expression reads, each once, in their order."""
    return list(dict.fromkeys(_columns(tree)))


def columns_of(text: str) -> list[str]:
    """The columns that an expression, given as its text, reads."""
    return columns(parse(text))


def texts_of(text: str) -> list[tuple[str, str]]:
    """The texts that an expression, given as its text, compares columns with.

    >>> texts_of("event in ('like', 'share') and watch_seconds > 3")
    [('event', 'like'), ('event', 'share')]
    """
    found = []
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Compare) and is_text(node.comparators[0]):
            texts = ast.literal_eval(node.comparators[0])
            texts = [texts] if isinstance(texts, str) else texts
            found += [(column_of(node.left), each) for each in texts]
    return found


def column_of(node: ast.expr) -> str | None:
    """The column that a node stands for; None if it stands for none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and node.func.id == "column":
        return node.args[0].value
    return None


def is_text(node: ast.expr) -> bool:
    """Whether a node is a text, or a list of texts."""
    if isinstance(node, (ast.Tuple, ast.List)):
        return any(is_text(item) for item in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _columns(node: ast.AST) -> Iterator[str]:
    name = column_of(node) if isinstance(node, ast.expr) else None
    if name is not None:
        yield name
        return
    for child in ast.iter_child_nodes(node):
        # The name of a function is no column.
        if not (isinstance(node, ast.Call) and child is node.func):
            yield from _columns(child)


def _check(node: ast.expr) -> None:
    """Raises a ValueError for what is not allowed."""
    match node:
        case ast.Name():
            return
        case ast.Constant(value=bool() | int() | float()):
            return
        case ast.Constant(value=str()):
            raise ValueError("a text can only be compared, by ==, !=, in or not in")
        case ast.BinOp(op=op) if isinstance(op, _OPERATORS):
            children = [node.left, node.right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            children = [node.operand]
        case ast.BoolOp():
            children = node.values
        case ast.IfExp():
            children = [node.test, node.body, node.orelse]
        case ast.Compare():
            children = _compared(node)
        case ast.Call():
            children = _arguments(node)
        case _:
            raise ValueError(f"`{ast.unparse(node)}` is not allowed in an expression")
    for child in children:
        _check(child)


def _compared(node: ast.Compare) -> list[ast.expr]:
    """Checks a comparison; returns what is to be checked further."""
    sides = [node.left, *node.comparators]
    for op, right in zip(node.ops, node.comparators, strict=True):
        listed = isinstance(right, (ast.Tuple, ast.List))
        if not isinstance(op, (*_COMPARISONS, *_MEMBERSHIP)) or (
            isinstance(op, _MEMBERSHIP) != listed
        ):
            raise ValueError(
                f"`{ast.unparse(node)}`: compare by < <= > >= == !=, or by `in` and "
                '`not in` with a list such as ("a", "b")'
            )
        if listed and not (
            all(_is_plain(item) for item in right.elts)
            and len({is_text(item) for item in right.elts}) == 1
        ):
            raise ValueError(
                f"`{ast.unparse(right)}` must list numbers only, or texts only"
            )
    if not any(is_text(side) for side in sides):
        return [s for s in sides if not isinstance(s, (ast.Tuple, ast.List))]
    equality = (ast.Eq, ast.NotEq, *_MEMBERSHIP)
    if (
        len(sides) != 2
        or not isinstance(node.ops[0], equality)
        or column_of(node.left) is None
    ):
        raise ValueError(
            f"`{ast.unparse(node)}`: a text is compared as `column == 'text'`, or by "
            "!=, in or not in"
        )
    return [node.left]


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant) and not is_text(node.operand)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float | str)


def _arguments(node: ast.Call) -> list[ast.expr]:
    """Checks a call; returns what is to be checked further."""
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in FUNCTIONS:
        raise ValueError(
            f"there is no function {name!r}. Known: {', '.join(FUNCTIONS)}"
        )
    wanted, count = FUNCTIONS[name], len(node.args)
    if node.keywords or (count < 2 if wanted is None else count != wanted):
        raise ValueError(
            f"`{name}` takes {wanted or 'two or more'} arguments, without names"
        )
    if name == "column":
        if not is_text(node.args[0]) or not isinstance(node.args[0], ast.Constant):
            raise ValueError("`column` takes a column's name as a text")
        return []
    return node.args
