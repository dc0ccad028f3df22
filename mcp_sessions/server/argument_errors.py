"""Checks a call's arguments, and explains which argument is wrong and what it accepts."""

from collections.abc import Mapping

from pydantic import ValidationError

from ..errors import Invalid, quoted
from ..json_documents import Json, JsonObject, is_array, is_object

_TYPE_NAMES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}
_MAX_SAFE_INTEGER = 2**53 - 1  # JavaScript clients round larger integers, so their digits can't be trusted


def read_arguments(arguments: Mapping[str, Json], schema: JsonObject) -> JsonObject:
    """Return the arguments without empty ones, ready to be validated. Raise `Invalid` for an unknown name.

    Null counts as not given, and so does "" for a string parameter with a default. An integer becomes its digits
    where the schema requires a string.
    """
    properties: JsonObject = schema["properties"]
    unknown = [name for name in arguments if name not in properties]
    if unknown:  # a misspelt filter must not be ignored: the call would affect more than was meant
        named = ", ".join(quoted(name) for name in unknown[:5])
        raise Invalid(f"unknown argument {named}. Allowed arguments: {', '.join(properties)}.")
    optional = properties.keys() - schema.get("required", ())
    return {
        name: _integers_as_text(value, properties[name])
        for name, value in arguments.items()
        if value is not None and not (value == "" and name in optional and properties[name]["type"] == "string")
    }


def _integers_as_text(value: Json, schema: JsonObject) -> Json:
    """Return the value with integers converted to text where the schema requires a string."""
    kind = schema.get("type")
    if kind == "string" and isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= _MAX_SAFE_INTEGER else value
    if kind == "array" and is_array(value):
        return [_integers_as_text(item, schema["items"]) for item in value]
    if kind == "object" and is_object(value):
        children: JsonObject = schema.get("properties", {})
        return {name: _integers_as_text(child, children.get(name, {})) for name, child in value.items()}
    return value


def explain_validation_error(error: ValidationError, schema: JsonObject) -> Invalid:
    """Return the first validation error as an `Invalid` that says what is expected, without quoting the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    node = schema
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path, node = f"{path}[{part}]", node.get("items", {})
        else:
            path, node = f"{path}.{part}" if path else part, node.get("properties", {}).get(part, {})
    if first["type"] == "missing":
        return Invalid(f'"{path}" is missing. Give {_expected(node)}.')
    if first["type"] == "extra_forbidden":
        return Invalid(f"{quoted(path)} is unknown. Leave it out.")
    return Invalid(f'"{path}" must be {_expected(node)}.')


def _expected(node: JsonObject) -> str:
    if "enum" in node:
        return " or ".join(f'"{value}"' for value in node["enum"])
    expected = _TYPE_NAMES.get(node.get("type", ""), "a value of another kind")
    if "minimum" in node and "maximum" in node:
        return f"{expected} from {node['minimum']} to {node['maximum']}"
    if node.get("minLength"):
        return f"{expected} with at least {node['minLength']} character"
    if "minItems" in node and "maxItems" in node:
        return f"{expected} of {node['minItems']} to {node['maxItems']}"
    if node.get("type") == "array":
        return f"{expected}, each item {_expected(node.get('items', {}))}"
    return expected
