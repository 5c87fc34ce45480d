"""The JSON Schema of a config, by which editors complete and check YAML files."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipeline.config.schema import Config

# As far as most editors go; of later drafts nothing is needed.
_DRAFT = "http://json-schema.org/draft-07/schema#"


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
