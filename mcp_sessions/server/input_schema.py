"""The JSON schemas of the tools' arguments, reduced to what a model needs."""

from collections.abc import Sequence

from ..json_documents import Json, JsonObject, is_array, is_object

_EMPTY_DEFAULTS: tuple[Json, ...] = ("", [], {}, None, False)


def input_schema(schema: JsonObject) -> JsonObject:
    """Return a schema of arguments without titles, references and empty defaults.

    The schema doesn't forbid unknown names, since `argument_errors.read_arguments` refuses them.
    """
    definitions: JsonObject = schema.get("$defs", {})
    properties = {name: _reduce(value, definitions) for name, value in schema.get("properties", {}).items()}
    reduced: JsonObject = {"type": "object", "properties": properties}
    if schema.get("required"):
        reduced["required"] = schema["required"]
    return reduced


def with_choices(schema: JsonObject, parameter: str, choices: Sequence[str]) -> JsonObject:
    """Return the schema with a parameter limited to these values and "", which means no choice.

    Remove the parameter if there are no choices. Return a schema without the parameter unchanged.
    """
    properties = dict(schema["properties"])
    if parameter in properties and choices:
        properties[parameter] = properties[parameter] | {"enum": list(dict.fromkeys(["", *choices]))}
    elif parameter in properties:
        del properties[parameter]
    return {**schema, "properties": properties}


def _reduce(schema: Json, definitions: JsonObject) -> Json:
    if is_array(schema):
        return [_reduce(item, definitions) for item in schema]
    if not is_object(schema):
        return schema
    if "$ref" in schema:
        return _reduce(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    reduced: JsonObject = {}
    for key, value in schema.items():
        if key == "properties":
            reduced[key] = {name: _reduce(child, definitions) for name, child in value.items()}
        elif key not in ("title", "default", "additionalProperties"):
            reduced[key] = _reduce(value, definitions)
    if "default" in schema and schema["default"] not in _EMPTY_DEFAULTS:
        reduced["default"] = schema["default"]
    return reduced
