"""Messages, as Guayaba gives them: contents as text or in blocks, roles as OpenClaw has them."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object
from ...models import (
    Attachment,
    Message,
    Role,
    ToolCall,
)
from .wire import millis, rows_in, text

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "toolResult": "tool",
    "tool_result": "tool",
    "function": "tool",
}
_SILENT = ("thinking", "reasoning", "redacted_thinking")
"""Blocks that were never said to anybody."""


def read_messages(answer: Json) -> list[Message]:
    """Oldest first, each with an id of its own: the one it has, else a digest of what it is."""
    rows = rows_in(answer)
    times = [time for row in rows if isinstance(time := row.get("timestamp"), int) and time > 0]
    if times != sorted(times) and times == sorted(times, reverse=True):
        rows = rows[::-1]
    called = {
        text(block, "id"): text(block, "name") for row in rows for block in _blocks(row) if _kind(block) == "toolcall"
    }
    own = [text(row, "id") or _digest(row) for row in rows]
    return [_message(row, id, called) for row, id in zip(rows, _told_apart(own), strict=True)]


def _told_apart(ids: Sequence[str]) -> list[str]:
    """The first of equal ones stays as it is; the others get numbers that make none equal to another."""
    taken, given, numbers = set(ids), set[str](), dict[str, int]()
    found: list[str] = []
    for id in ids:
        new, number = id, numbers.get(id, 1)
        while new in given or (number > 1 and new in taken):
            number += 1
            new = f"{id}-{number}"
        numbers[id] = number
        given.add(new)
        found.append(new)
    return found


def _digest(row: JsonObject) -> str:
    written = _json(row, sort_keys=True)
    return "m" + blake2b(written.encode(errors="backslashreplace"), digest_size=5).hexdigest()


def _blocks(row: JsonObject) -> list[JsonObject]:
    content = row.get("content")
    return [block for block in content if is_object(block)] if is_array(content) else []


def _message(row: JsonObject, id: str, called: Mapping[str, str]) -> Message:
    """`called` are the names of tools by the ids of their calls, for results that don't repeat them."""
    content, blocks = row.get("content"), _blocks(row)
    said = [content] if isinstance(content, str) else [_said(block) for block in blocks]
    return Message(
        id=id,
        role=_ROLES.get(text(row, "role"), "assistant"),
        text="\n".join(part for part in said if part),
        created_at=millis(row.get("timestamp")),
        tool_calls=tuple(_tool_call(block) for block in blocks if _kind(block) == "toolcall"),
        tool_name=text(row, "toolName") or text(row, "name") or _called(row, blocks, called),
        attachments=tuple(_attachment(block) for block in blocks if _kind(block) == "attachment"),
    )


def _kind(block: JsonObject) -> str:
    """What a block is to a reader: `text`, `toolcall`, `attachment`, or nothing."""
    type = text(block, "type")
    if type in ("toolCall", "tool_use", "toolUse"):
        return "toolcall"
    if type in _SILENT:
        return ""
    if "text" in block or type in ("toolResult", "tool_result"):
        return "text"
    return "attachment" if type else ""


def _said(block: JsonObject) -> str:
    if _kind(block) != "text":
        return ""
    if isinstance(block.get("text"), str):
        return text(block, "text")
    content = block.get("content")
    if is_array(content):
        return "\n".join(text(part, "text") for part in content if is_object(part) and text(part, "text"))
    return content if isinstance(content, str) else ""


def _called(row: JsonObject, blocks: Sequence[JsonObject], called: Mapping[str, str]) -> str:
    ids = (text(part, key) for part in (row, *blocks) for key in ("toolCallId", "tool_use_id"))
    return next((called[id] for id in ids if id in called), "")


def _tool_call(block: JsonObject) -> ToolCall:
    arguments = block.get("arguments", block.get("input", ""))
    return ToolCall(
        id=text(block, "id"),
        name=text(block, "name"),
        arguments=arguments if isinstance(arguments, str) else _json(arguments),
    )


def _json(value: Json, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    except RecursionError as error:
        raise BadResponse("Guayaba answered messages that are nested too deeply to be read.") from error


def _attachment(block: JsonObject) -> Attachment:
    """What was attached, without its data, which comes as base64."""
    source = block.get("source")
    inner = source if is_object(source) else block
    data = text(inner, "data")
    url = text(inner, "url")
    return Attachment(
        type=text(block, "type"),
        media_type=text(inner, "mimeType") or text(inner, "media_type"),
        url="" if url.lstrip().lower().startswith("data:") else url,
        bytes=len(data.rstrip("=")) * 3 // 4 if data else None,
    )
