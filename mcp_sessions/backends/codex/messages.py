"""The messages in the lines of a rollout.

A legacy rollout has `user_message` and `agent_message` events, and tools only as the model saw them. A paginated one
has an `item_completed` event for each message and each tool.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ...json_documents import Json, JsonObject, is_array, is_object, object_in
from ...models import Attachment, Message, Role, ToolCall
from ..transcript_feed import ShownText
from ..transcripts.blocks import Content
from ..transcripts.lines import Line, parse
from ..transcripts.values import count_in, json_of, objects_in, text_in, time_in, time_of_milliseconds
from .line_types import CALLS, OUTPUTS, line_payload

_COMPACTED = "The conversation was compacted here. The model no longer sees the messages before this one."
_ROLES_OF_EVENTS: dict[str, Role] = {
    "user_message": "user",
    "agent_message": "assistant",
    "context_compacted": "system",
}
_ROLES_OF_ITEMS: dict[str, Role] = {"UserMessage": "user", "AgentMessage": "assistant", "ContextCompaction": "system"}
_IMAGES = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "gif": "gif", "webp": "webp"}


@dataclass(frozen=True, slots=True)
class LineMessages:
    """The messages in a line, oldest first: one, or a call of a tool and its result.

    `starts_run`: the message is a prompt. `result_of`: the id of the call whose result the message is.
    """

    messages: tuple[Message, ...]
    starts_run: bool = False
    result_of: str = ""


def read_messages(line: Line, *, is_paginated: bool) -> LineMessages | None:
    """Return the messages in a line, None if it has none that are shown in a rollout of this kind."""
    record = parse(line.data) or {}
    payload = object_in(record, "payload")
    text = _text_of(line, record, payload, is_paginated=is_paginated)
    if text is None:
        id, created_at = f"byte-{line.offset}", time_in(record)
        return _of_item(id, created_at, payload) if is_paginated else _of_legacy(id, created_at, payload)
    attachments = _content(object_in(payload, "item")).attachments if is_paginated else _images(payload)
    message = Message(**text._asdict(), attachments=tuple(attachments))
    return LineMessages((message,), starts_run=text.role == "user")


def read_text(line: Line, *, is_paginated: bool) -> ShownText | None:
    """Return the text of a message, None if the line has none that is shown in a rollout of this kind."""
    record = parse(line.data) or {}
    return _text_of(line, record, object_in(record, "payload"), is_paginated=is_paginated)


def prompt_in(data: bytes) -> str:
    """Return the text of the prompt in a line, "" if it is none."""
    payload = line_payload(data)
    if payload.get("type") == "user_message":
        return text_in(payload, "message")
    item = object_in(payload, "item")
    is_prompt = payload.get("type") == "item_completed" and item.get("type") == "UserMessage"
    return "".join(_content(item).texts) if is_prompt else ""


def call_name(payload: JsonObject) -> str:
    """Return the name of the tool that a line of a legacy rollout calls."""
    return text_in(payload, "name") or text_in(payload, "type").removesuffix("_call")


def _text_of(line: Line, record: JsonObject, payload: JsonObject, *, is_paginated: bool) -> ShownText | None:
    item = object_in(payload, "item") if is_paginated else payload
    role = (_ROLES_OF_ITEMS if is_paginated else _ROLES_OF_EVENTS).get(text_in(item, "type"))
    if role is None:
        return None
    id, created_at = f"byte-{line.offset}", time_in(record)
    if is_paginated:
        id = text_in(item, "id") or id
        created_at = time_of_milliseconds(count_in(payload, "started_at_ms")) or created_at
    if role == "system":
        return ShownText(id, role, _COMPACTED, created_at)
    text = "".join(_content(item).texts) if is_paginated else text_in(payload, "message")
    return ShownText(id, role, text, created_at)


def _of_legacy(id: str, created_at: datetime | None, payload: JsonObject) -> LineMessages | None:
    type = text_in(payload, "type")
    message = partial(Message, id=id, created_at=created_at)
    if type in CALLS:
        call = ToolCall(id=text_in(payload, "call_id"), name=call_name(payload), arguments=_arguments(payload))
        return LineMessages((message(role="assistant", tool_calls=(call,)),))
    if type in OUTPUTS:
        content = Content()
        content.add(payload.get("output"))
        result = message(role="tool", text=content.text, attachments=tuple(content.attachments))
        return LineMessages((result,), result_of=text_in(payload, "call_id"))
    return None


def _of_item(line_id: str, created_at: datetime | None, payload: JsonObject) -> LineMessages | None:
    item = object_in(payload, "item")
    id = text_in(item, "id") or line_id
    created_at = time_of_milliseconds(count_in(payload, "started_at_ms")) or created_at
    tool = _tool(text_in(item, "type"), item)
    if tool is None:
        return None
    name, arguments, output = tool
    call = Message(
        id=id, created_at=created_at, role="assistant", tool_calls=(ToolCall(id=id, name=name, arguments=arguments),)
    )
    ended_at = time_of_milliseconds(count_in(payload, "completed_at_ms")) or created_at
    result = Message(id=f"{id}-result", role="tool", text=output, tool_name=name, created_at=ended_at)
    return LineMessages((call, result))


def _content(item: JsonObject) -> Content:
    """Return the content of a message."""
    content = Content()
    for block in objects_in(item.get("content")):
        type = text_in(block, "type").lower()
        if type == "image":
            content.attachments.append(_image(text_in(block, "image_url")))
        elif type == "local_image":
            content.attachments.append(_image(f"file://{text_in(block, 'path')}"))
        elif type == "text":
            content.add(text_in(block, "text"))
    return content


def _tool(type: str, item: JsonObject) -> tuple[str, str, str] | None:
    """Return the name, the arguments and the output of a tool that was used, None for an item of another type."""
    match type:
        case "CommandExecution":
            arguments = json_of({"command": item.get("command"), "cwd": item.get("cwd")})
            return "exec_command", arguments, text_in(item, "aggregated_output")
        case "FileChange":
            return "apply_patch", json_of(item.get("changes")), text_in(item, "stdout") or text_in(item, "status")
        case "WebSearch":
            return "web_search", json_of({"query": item.get("query")}), ""
        case "CollabAgentToolCall":
            return text_in(item, "tool"), json_of({"prompt": item.get("prompt")}), json_of(item.get("receiver_agents"))
        case "McpToolCall" | "DynamicToolCall":
            return text_in(item, "tool"), json_of(item.get("arguments")), _output(item)
        case _:
            return None


def _output(item: JsonObject) -> str:
    """Return what a tool returned: the texts of its content, or the message of its error."""
    content = Content()
    content.add(object_in(item, "result").get("content") or item.get("content_items"))
    return content.text or text_in(object_in(item, "error"), "message")


def _arguments(payload: JsonObject) -> str:
    """Return the arguments of a call as JSON text, or as the text that the tool was given."""
    for key in ("arguments", "input", "action"):
        value = payload.get(key)
        if value is not None:
            return text_in(payload, key) if isinstance(value, str) else json_of(value)
    return ""


def _image(url: str) -> Attachment:
    """Return the description of an image. One without a media type has the one that its name says."""
    content = Content()
    content.add([{"type": "image", "image_url": url}])
    (attachment,) = content.attachments
    ending = attachment.url.rpartition(".")[2].lower()
    if attachment.media_type or ending not in _IMAGES:
        return attachment
    return attachment.model_copy(update={"media_type": f"image/{_IMAGES[ending]}"})


def _images(payload: JsonObject) -> list[Attachment]:
    """Return the images of a prompt in a legacy rollout."""
    paths = [f"file://{path}" for path in _texts(payload.get("local_images"))]
    return [_image(url) for url in (*_texts(payload.get("images")), *paths)]


def _texts(value: Json) -> list[str]:
    """Return the strings in an array, and the paths of the objects in it."""
    texts = [text_in(item, "path") if is_object(item) else item for item in value] if is_array(value) else []
    return [text for text in texts if isinstance(text, str) and text]
