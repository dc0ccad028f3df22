"""The JSON schemas that clients are shown: as small as they can be and still say everything."""

from ..json_documents import Json, JsonObject, is_array, is_object

_SAYS_NOTHING: tuple[Json, ...] = ("", [], {}, None, False)


def input_schema(schema: JsonObject) -> JsonObject:
    """An arguments' schema without titles, references and empty defaults.

    Unknown names are refused whatever the schema says (`arguments.check_names`), so it needn't.
    """
    definitions: JsonObject = schema.get("$defs", {})
    properties = {name: _lean(value, definitions) for name, value in schema.get("properties", {}).items()}
    lean: JsonObject = {"type": "object", "properties": properties}
    if schema.get("required"):
        lean["required"] = schema["required"]
    return lean


def _lean(schema: Json, definitions: JsonObject) -> Json:
    if is_array(schema):
        return [_lean(item, definitions) for item in schema]
    if not is_object(schema):
        return schema
    if "$ref" in schema:
        return _lean(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    lean: JsonObject = {}
    for key, value in schema.items():
        if key == "properties":
            lean[key] = {name: _lean(child, definitions) for name, child in value.items()}
        elif key not in ("title", "default", "additionalProperties"):
            lean[key] = _lean(value, definitions)
    if "default" in schema and schema["default"] not in _SAYS_NOTHING:
        lean["default"] = schema["default"]
    return lean
