"""Renders a result as compact JSON text and as structured content."""

from collections.abc import Callable

from mcp.types import CallToolResult, TextContent

from ..json_documents import Json, JsonObject, is_array, is_object
from ..models import (
    Change,
    Model,
)
from .fit_values import compact

# Fields with text from outside. State and metadata stay exact, since callers read them to write them back.
_STORED_TEXT = frozenset(
    {
        *("name", "session_name", "text", "snippet", "summary", "input", "output", "arguments", "tool_name", "topics"),
        *("type", "agent_id", "user_id", "channel", "media_type", "url", "project", "branch"),
    }
)
_SANITIZED = (
    "The previous text is shown without hidden characters and credentials, so sending it back doesn't undo all of it."
)


def render(payload: JsonObject) -> CallToolResult:
    """Return the payload as a tool result: a text block of compact JSON, and the same as structured content."""
    return CallToolResult(content=[TextContent(type="text", text=compact(payload))], structured_content=payload)


def payload_of(result: Model, sanitize: Callable[[str], str]) -> JsonObject:
    """Return the result as a JSON object without empty values, with `sanitize` applied to all stored text."""
    payload = result.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    _sanitize_texts(payload, sanitize)
    if isinstance(result, Change) and any(
        result.previous[key] != shown for key, shown in payload.get("previous", {}).items()
    ):
        payload["note"] = f"{result.note} {_SANITIZED}".strip()
    return payload


def _sanitize_texts(value: Json, sanitize: Callable[[str], str]) -> None:
    if is_array(value):
        for item in value:
            _sanitize_texts(item, sanitize)
    elif is_object(value):
        for key, child in value.items():
            if key in _STORED_TEXT:
                value[key] = [sanitize(item) for item in child] if is_array(child) else sanitize(child)
            elif not isinstance(child, str) and key not in ("state", "metadata"):
                _sanitize_texts(child, sanitize)
