"""A result as it is sent: the same object as compact text and as structured content, within its budget."""

from collections.abc import Callable

from mcp.types import CallToolResult, TextContent

from ..json_documents import Json, JsonObject, is_array, is_object
from ..models import (
    Change,
    Model,
)
from .fit_values import compact

# Text that came from outside. State and metadata are not among it: they are written back, so they stay exact.
_STORED_TEXT = frozenset(
    {
        *("name", "session_name", "text", "snippet", "summary", "input", "output", "arguments", "tool_name", "topics"),
        *("type", "agent_id", "user_id", "channel", "media_type", "url"),
    }
)
_ALTERED = "The previous text is shown without hidden characters and credentials, so sending it back is no full undo."


def rendered(payload: JsonObject) -> CallToolResult:
    """Return a payload as a result: one text block of compact JSON, and the same object as structured content."""
    return CallToolResult(content=[TextContent(type="text", text=compact(payload))], structured_content=payload)


def payload_of(result: Model, present: Callable[[str], str]) -> JsonObject:
    """Return a result as plain JSON, without empty values, its stored text as `present` shows it."""
    payload = result.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    _present(payload, present)
    if isinstance(result, Change) and any(
        result.previous[key] != shown for key, shown in payload.get("previous", {}).items()
    ):
        payload["note"] = f"{result.note} {_ALTERED}".strip()
    return payload


def _present(value: Json, present: Callable[[str], str]) -> None:
    if is_array(value):
        for item in value:
            _present(item, present)
    elif is_object(value):
        for key, child in value.items():
            if key in _STORED_TEXT:
                value[key] = [present(item) for item in child] if is_array(child) else present(child)
            elif not isinstance(child, str) and key not in ("state", "metadata"):
                _present(child, present)
