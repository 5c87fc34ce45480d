"""A valid config, and what chance does to it: to its tree, and to its text."""

import copy

import yaml
from hypothesis import strategies as st

# What a person, a script or an editor leaves where another value should be.
_VALUES = st.sampled_from(
    [
        None, True, False, -1, 0, 1, 0.5, 2.5, 10**6, 10**30, -(10**30), 1e308, 1e-320,
        float("nan"), float("inf"), "", " ", "x", "1", "0.5", "null", "user", "item",
        "click", "watch", "price", "when", "tags", "missing", "a b", "用户", "é\0", "-",
        "*", "?", "[", "{", "a.b", "a..b", ".", "class", "self", "name", "x" * 300,
        "click > 1", "click >", "1 / 0", "user == 'u1'", "user in ('a', 1)", "not x",
        "min(price)", "column('x')", "column(1)", "f'{x}'", "lambda: x", "(" * 200,
        "1h", "h", "-1h", "1e999h", "2024-01-01", "ple", "mmoe", "adam", "served",
        "auc/item", "gauc:user", "val_loss", "os:system", "user|item", "..", "~",
        [], {}, [[]], [None], [1, "a"], ["user", "user"], {"a": 1}, {"name": "x"},
        {1: 2}, {None: None}, {"column": "user"}, [{}], [{"name": "user"}],
    ]
) | st.text(max_size=4)  # fmt: skip
_KEYS = st.sampled_from(
    ["name", "nam", "kind", "column", "label", "", " ", "é", 1, None, True, 2.5, "<<"]
) | st.text(max_size=3)
_PIECES = st.sampled_from(
    [
        "", "\n", " ", "  ", "\t", ":", ": ", "- ", "-", "#", "'", '"', "[", "]", "{",
        "}", "&a ", "*a", "!!python/object:os.system ", "!!int ", "!!binary ", "!!set ",
        "<<: ", "? ", "|", ">", "%", "@", "`", "---\n", "...\n", "\0", "\ufeff", "é",
        "\u2028", "\x85", "~", "1e999", "0x", ".nan", "2024-01-01", "12:30:45", "=",
    ]
) | st.text(max_size=3)  # fmt: skip


@st.composite
def texts(draw, config):
    """The YAML of a config with up to three mutations; some have their text changed."""
    tree = copy.deepcopy(config)
    in_text = draw(st.integers(0, 5)) == 0
    for _ in range(0 if in_text else draw(st.sampled_from([1, 1, 1, 2, 3]))):
        tree = _mutated(draw, tree)
    text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
    return _mutated_text(draw, text) if in_text else text


@st.composite
def overrides(draw, config):
    """What `--set` may be given, on a path that is or is not there."""
    path = [str(step) for step in draw(st.sampled_from(list(_paths(config))))]
    if draw(st.booleans()):
        path[draw(st.integers(0, len(path) - 1))] = str(draw(_KEYS))
    value = yaml.safe_dump(_value(draw), default_flow_style=True)
    value = value.removesuffix("...\n").strip()
    return ".".join(path) + draw(st.sampled_from(["=", "=", "=", "", "=="])) + value


def _value(draw, like=None):
    """Any value; or one of the type of another, which reaches more than the types."""
    if like is None or isinstance(like, dict | list):
        return copy.deepcopy(draw(_VALUES))
    is_text = isinstance(like, str)
    return draw(_VALUES.filter(lambda value: isinstance(value, str) == is_text))


def _paths(tree, path=()):
    """All keys and positions in a tree, as paths from its root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*path, key))


def _mutated(draw, tree):
    """The tree with one entry replaced, moved, renamed, wrapped, repeated or gone."""
    paths = list(_paths(tree)) if isinstance(tree, dict | list) else []
    if not paths:
        return _value(draw)
    *parents, last = draw(st.sampled_from(paths))
    node = tree
    for step in parents:
        node = node[step]
    match draw(
        st.sampled_from(
            "like like like like value other delete rename wrap text add".split()
        )
    ):
        case "like":
            node[last] = _value(draw, node[last])
        case "value":
            node[last] = _value(draw)
        case "other":
            other = tree
            for step in draw(st.sampled_from(paths)):
                other = other[step]
            node[last] = copy.deepcopy(other)
        case "delete":
            del node[last]
        case "rename" if isinstance(node, dict):
            node[draw(_KEYS)] = node.pop(last)
        case "wrap":
            key = draw(st.sampled_from([None, "name", "a", last]))
            node[last] = [node[last]] if key is None else {key: node[last]}
        case "text":
            node[last] = str(node[last])
        case _ if isinstance(node, dict):
            node[draw(_KEYS)] = _value(draw)
        case _:
            node.append(copy.deepcopy(node[last]))
    return tree


def _mutated_text(draw, text):
    """Puts something in, takes something out, or moves a line; up to three times."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["insert", "insert", "cut", "line", "indent"])):
            case "insert":
                text = text[:at] + draw(_PIECES) + text[at:]
            case "cut":
                text = text[:at] + text[at + draw(st.integers(1, 10)) :]
            case "line":
                lines = text.splitlines(keepends=True) or [""]
                lines.insert(
                    draw(st.integers(0, len(lines))), draw(st.sampled_from(lines))
                )
                text = "".join(lines)
            case "indent":
                start = text.rfind("\n", 0, at) + 1
                text = text[:start] + draw(st.sampled_from(" \t-")) + text[start:]
    return text
