"""Bad arguments, in words a model can act on: which one, and what is allowed."""

from collections.abc import Mapping

from pydantic import ValidationError

from .errors import Invalid, quoted
from .models import JsonObject

_ARTICLES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


def check_names(arguments: Mapping[str, object], schema: JsonObject) -> None:
    """Raise `Invalid` for an argument the tool has not: a filter misspelt would widen what a call does."""
    allowed: JsonObject = schema["properties"]
    unknown = [name for name in arguments if name not in allowed]
    if unknown:
        named = ", ".join(quoted(name) for name in unknown[:5])
        raise Invalid(f"unknown argument {named}. Allowed are: {', '.join(allowed)}.")


def explained(error: ValidationError, schema: JsonObject) -> Invalid:
    """The first thing wrong with the arguments; what was given is not repeated."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    node = schema
    shown = ""
    for part in first["loc"]:
        if isinstance(part, int):
            shown, node = f"{shown}[{part}]", node.get("items", {})
        else:
            shown, node = f"{shown}.{part}" if shown else part, node.get("properties", {}).get(part, {})
    if first["type"] == "missing":
        return Invalid(f'"{shown}" is missing. Give {_expected(node)}.')
    if first["type"] == "extra_forbidden":
        return Invalid(f"{quoted(shown)} is unknown. Leave it out.")
    return Invalid(f'"{shown}" must be {_expected(node)}.')


def _expected(node: JsonObject) -> str:
    if "enum" in node:
        return " or ".join(f'"{value}"' for value in node["enum"])
    expected = _ARTICLES.get(node.get("type", ""), "a value of another kind")
    if "minimum" in node and "maximum" in node:
        return f"{expected} from {node['minimum']} to {node['maximum']}"
    if node.get("minLength"):
        return f"{expected} with at least {node['minLength']} character"
    if "minItems" in node and "maxItems" in node:
        return f"{expected} of {node['minItems']} to {node['maxItems']}"
    if node.get("type") == "array":
        return f"{expected}, each item {_expected(node.get('items', {}))}"
    return expected
