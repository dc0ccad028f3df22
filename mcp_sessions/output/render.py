"""Renders a result as compact JSON text and as structured content."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from mcp.types import CallToolResult, TextContent

from ..json_documents import Json, JsonObject, is_array, is_object
from ..models import (
    Change,
    Model,
)
from .fit_values import compact, size

# Fields with text from outside. State and metadata stay exact, since callers read them to write them back.
_STORED_TEXT = frozenset(
    {
        *("name", "session_name", "text", "snippet", "summary", "input", "output", "arguments", "tool_name", "topics"),
        *("type", "agent_id", "user_id", "channel", "media_type", "url", "project", "branch"),
    }
)
_REPEATED = ("run_id", "created_at")
_EMPTY_ROOM = len(',"created_at":""')
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


def leave_out_repeated(messages: Sequence[JsonObject]) -> None:
    """Remove a `run_id` and a `created_at` that the message before has too. A message that has none gets "" after one
    that has one.

    A page is left as it is if this would make it larger, since it may be as large as is allowed.
    """
    for key in _REPEATED:
        values = [message.get(key, "") for message in messages]
        changes = [value != before for before, value in pairwise(["", *values])]
        saved = sum(size(value) if value else 0 for value, differs in zip(values, changes, strict=True) if not differs)
        ends = sum(1 for value, differs in zip(values, changes, strict=True) if differs and not value)
        if saved < ends * _EMPTY_ROOM:
            continue
        for message, value, differs in zip(messages, values, changes, strict=True):
            if differs:
                message[key] = value
            else:
                message.pop(key, None)


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
