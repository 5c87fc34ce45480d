"""Every key of a config: the JSON Schema that editors read, and docs/config.md."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipeline.config.reading import Reading
from pipeline.config.schema import Config

# As far as most editors go; of later drafts nothing is needed.
_DRAFT = "http://json-schema.org/draft-07/schema#"
_HEAD = """\
# Every key of a config

`python -m pipeline schema --markdown` writes this page. `python -m pipeline schema`
writes the same as a JSON Schema, by which editors complete keys and check them as you
type, such as those with the YAML language server:

```shell
.venv/bin/python -m pipeline schema > config.schema.json
```

```yaml
# yaml-language-server: $schema=config.schema.json
name: shop
```

A config has these keys; each section has a table of its own below.
"""
_FILES = "files of a log"
_BOUNDS = {
    "minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<",
}  # fmt: skip


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """No: it would be the key, which stands beside it."""
        return False


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a config as it is written in YAML.

    What only the sections together can have wrong, such as a task that does not exist,
    `python -m pipeline` alone finds.
    """
    schema = Config.model_json_schema(schema_generator=_Generator)
    return {"$schema": _DRAFT, **_tidy(schema)}


def _tidy(node: Any) -> Any:
    """Makes a description one line; a key with a default may be left out."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _tidy(value) for key, value in node.items()}
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].split())
    if isinstance(node.get("required"), list):
        keys = node["properties"]
        node["required"] = [k for k in node["required"] if "default" not in keys[k]]
    return node


def markdown() -> str:
    """Returns the page: a table for each section, a line for each key."""
    schema = json_schema()
    sections = {name: _mapping(part) for name, part in schema["$defs"].items()}
    headings = dict(_headings(schema["properties"], "", sections))
    files = Reading.model_fields
    readers = [n for n in headings if files.keys() <= sections[n]["properties"].keys()]
    shared = {key: sections[readers[0]]["properties"][key] for key in files}
    for name in readers:
        keys = sections[name]["properties"]
        own = {key: value for key, value in keys.items() if key not in files}
        sections[name]["properties"] = own
    sections["Reading"] = {"description": Reading.__doc__, "properties": shared}
    lines = [_HEAD, *_table(schema, sections, headings)]
    for name, heading in {**headings, "Reading": _FILES}.items():
        lines += ["", f"## {heading}", "", sections[name]["description"], ""]
        if name in readers:
            lines += [f"The keys of {_link(_FILES)}, and besides:", ""]
        lines += _table(sections[name], sections, headings)
    page = "\n".join(lines) + "\n"
    return re.sub(r"docs/(\w+\.md)", r"[docs/\1](\1)", page)


def _mapping(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a section for which a text may stand, the section."""
    return schema["anyOf"][1] if "anyOf" in schema else schema


def _headings(
    keys: Mapping[str, Any], path: str, sections: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields (name of a section, its YAML path) in the order of a config."""
    for key, schema in keys.items():
        below = f"{path}.{key}".lstrip(".")
        for name in dict.fromkeys(re.findall(r"#/\$defs/(\w+)", json.dumps(schema))):
            section = sections[name]
            if section["additionalProperties"] is True:  # `Named`: its name says which
                continue
            kind = section["properties"].get("kind", {}).get("const")
            yield name, f"{below}: {kind}" if kind else below
            yield from _headings(section["properties"], below, sections)


def _table(
    section: Mapping[str, Any], sections: Mapping[str, Any], headings: Mapping[str, str]
) -> list[str]:
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for key, schema in section["properties"].items():
        cells = [
            f"`{key}`",
            _type(schema, headings),
            _default(schema, required=key in section.get("required", ())),
            schema.get("description") or sections[_named(schema)]["description"],
        ]
        cells = [cell.replace("|", r"\|") for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _default(schema: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    # A section's own defaults stand in its table.
    if default is None or "$ref" in schema and "name" not in default:
        return ""
    if isinstance(default, dict) and default.keys() == {"name"}:
        default = default["name"]
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _type(schema: Mapping[str, Any], headings: Mapping[str, str], s: str = "") -> str:
    """The type in words; `s` is the ending of a plural."""
    if "$ref" in schema:
        name = _named(schema)
        if name not in headings:
            return f"name{s}, or {{name: ..., options}}"
        return _link(headings[name])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            # Of a key whose default is null, one says that it may be left out.
            drop = {"type": "null"} if schema.get("default", "") is None else None
            parts = [_type(one, headings, s) for one in schema[key] if one != drop]
            narrower = {f"whole {part}" for part in parts}
            return _any_of(part for part in parts if part not in narrower)
    if "enum" in schema or "const" in schema:
        return _any_of([f"`{v}`" for v in schema.get("enum") or [schema["const"]]])
    kind = schema.get("type")
    if kind == "array":
        return f"list{s} of {_type(schema['items'], headings, 's')}".removesuffix(
            " of any"
        )
    if kind == "object":
        return _type_of_values(schema, headings)
    if kind in ("integer", "number"):
        bounds = [f"{_BOUNDS[b]} {schema[b]:g}" for b in _BOUNDS if b in schema]
        what = "whole number" if kind == "integer" else "number"
        return f"{what}{s} {' and '.join(bounds)}".strip()
    words = {"string": f"text{s}", "boolean": f"boolean{s}", "null": "`null`"}
    if "format" in schema:
        return schema["format"].replace("-", " ") + s
    return words.get(kind, "any")


def _any_of(words: Iterable[str]) -> str:
    """Returns "a", "a or b", "a, b or c" ..."""
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _type_of_values(schema: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    """A mapping of names that are free."""
    values = [schema.get("additionalProperties", True)]
    values += schema.get("patternProperties", {}).values()
    words = [_type(value, headings, "s") for value in values if isinstance(value, dict)]
    return f"mapping to {words[0]}" if words else "mapping"


def _named(schema: Mapping[str, Any]) -> str:
    return schema["$ref"].rpartition("/")[2]


def _link(heading: str) -> str:
    """A link to a section, as GitHub and MkDocs name their headings."""
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    return f"[{heading}](#{anchor})"
