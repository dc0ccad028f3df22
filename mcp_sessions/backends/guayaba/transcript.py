"""Functions that convert Guayaba's messages, whose content is text or blocks, to ours."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object, text_in
from ...models import (
    Attachment,
    Message,
    Role,
    ToolCall,
)
from .wire import parse_milliseconds, rows_in

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
_HIDDEN = ("thinking", "reasoning", "redacted_thinking")
"""Types of blocks that users don't see."""


def read_messages(answer: Json) -> list[Message]:
    """Return the messages in an answer, oldest first, each with a unique id.

    The id is Guayaba's, or a digest of the message.
    """
    rows = rows_in(answer)
    times = [time for row in rows if isinstance(time := row.get("timestamp"), int) and time > 0]
    if times != sorted(times) and times == sorted(times, reverse=True):
        rows = rows[::-1]
    tool_names = {
        text_in(block, "id"): text_in(block, "name")
        for row in rows
        for block in _blocks(row)
        if _kind(block) == "toolcall"
    }
    ids = [text_in(row, "id") or _digest(row) for row in rows]
    return [_message(row, id, tool_names) for row, id in zip(rows, _unique_ids(ids), strict=True)]


def _unique_ids(ids: Sequence[str]) -> list[str]:
    """Return the ids with a number added to each that is equal to an earlier one."""
    taken, used, numbers = set(ids), set[str](), dict[str, int]()
    unique: list[str] = []
    for id in ids:
        new, number = id, numbers.get(id, 1)
        while new in used or (number > 1 and new in taken):
            number += 1
            new = f"{id}-{number}"
        numbers[id] = number
        used.add(new)
        unique.append(new)
    return unique


def _digest(row: JsonObject) -> str:
    content = _json_text(row, sort_keys=True)
    return "m" + blake2b(content.encode(errors="backslashreplace"), digest_size=5).hexdigest()


def _blocks(row: JsonObject) -> list[JsonObject]:
    content = row.get("content")
    return [block for block in content if is_object(block)] if is_array(content) else []


def _message(row: JsonObject, id: str, tool_names: Mapping[str, str]) -> Message:
    """Return the message of a row. `tool_names` has the tools by the ids of their calls, for results without a name."""
    content, blocks = row.get("content"), _blocks(row)
    texts = [content] if isinstance(content, str) else [_text_of(block) for block in blocks]
    return Message(
        id=id,
        role=_ROLES.get(text_in(row, "role"), "assistant"),
        text="\n".join(part for part in texts if part),
        created_at=parse_milliseconds(row.get("timestamp")),
        tool_calls=tuple(_tool_call(block) for block in blocks if _kind(block) == "toolcall"),
        tool_name=text_in(row, "toolName") or text_in(row, "name") or _tool_name(row, blocks, tool_names),
        attachments=tuple(_attachment(block) for block in blocks if _kind(block) == "attachment"),
    )


def _kind(block: JsonObject) -> str:
    """Return the kind of a block: `text`, `toolcall`, `attachment`, or "" for one that is hidden."""
    type = text_in(block, "type")
    if type in ("toolCall", "tool_use", "toolUse"):
        return "toolcall"
    if type in _HIDDEN:
        return ""
    if "text" in block or type in ("toolResult", "tool_result"):
        return "text"
    return "attachment" if type else ""


def _text_of(block: JsonObject) -> str:
    if _kind(block) != "text":
        return ""
    if isinstance(block.get("text"), str):
        return text_in(block, "text")
    content = block.get("content")
    if is_array(content):
        return "\n".join(text_in(part, "text") for part in content if is_object(part) and text_in(part, "text"))
    return content if isinstance(content, str) else ""


def _tool_name(row: JsonObject, blocks: Sequence[JsonObject], tool_names: Mapping[str, str]) -> str:
    ids = (text_in(part, key) for part in (row, *blocks) for key in ("toolCallId", "tool_use_id"))
    return next((tool_names[id] for id in ids if id in tool_names), "")


def _tool_call(block: JsonObject) -> ToolCall:
    arguments = block.get("arguments", block.get("input", ""))
    return ToolCall(
        id=text_in(block, "id"),
        name=text_in(block, "name"),
        arguments=arguments if isinstance(arguments, str) else _json_text(arguments),
    )


def _json_text(value: Json, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    except RecursionError as error:
        raise BadResponse(
            "Guayaba's messages are nested too deeply to be read. Read them in Guayaba itself."
        ) from error


def _attachment(block: JsonObject) -> Attachment:
    """Return an attachment without its data, which Guayaba returns as base64."""
    source = block.get("source")
    inner = source if is_object(source) else block
    data = text_in(inner, "data")
    url = text_in(inner, "url")
    return Attachment(
        type=text_in(block, "type"),
        media_type=text_in(inner, "mimeType") or text_in(inner, "media_type"),
        url="" if url.lstrip().lower().startswith("data:") else url,
        bytes=len(data.rstrip("=")) * 3 // 4 if data else None,
    )
