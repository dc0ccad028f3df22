"""Content blocks of messages, in the forms that Anthropic's and OpenAI's APIs give them."""

from dataclasses import dataclass, field

from ...json_documents import Json, JsonObject, object_in
from ...models import Attachment, ToolCall
from .values import json_of, objects_in, text_in, valid_text

_TEXTS = ("text", "input_text", "output_text")
_HIDDEN = ("thinking", "redacted_thinking", "reasoning")
"""Blocks that users don't see."""
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_RESULT = "tool_result"


@dataclass(slots=True)
class Content:
    """What the blocks of a message say. `result_of` has the ids of the tool calls whose results the blocks are.

    `call_blocks` are those of the message's tool calls.
    """

    texts: list[str] = field(default_factory=list[str])
    call_blocks: list[JsonObject] = field(default_factory=list[JsonObject])
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    result_of: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    @property
    def calls(self) -> list[ToolCall]:
        return [
            ToolCall(id=text_in(block, "id"), name=text_in(block, "name"), arguments=json_of(block.get("input")))
            for block in self.call_blocks
        ]

    def add(self, content: Json) -> None:
        """Add the content of a message: a text, or blocks. An unknown block becomes an attachment of its type."""
        self.texts += texts_of(content)
        for block in objects_in(content):
            self._add_block(block)

    def _add_block(self, block: JsonObject) -> None:
        kind = text_in(block, "type")
        if kind in _CALLS:
            self.call_blocks.append(block)
        elif kind == _RESULT:
            self.result_of.append(text_in(block, "tool_use_id"))
            for inner in _blocks_of_result(block):
                self._add_block(inner)
        elif kind and kind not in _TEXTS and kind not in _HIDDEN:
            self.attachments.append(_attachment(kind, block))


def texts_of(content: Json) -> list[str]:
    """Return the texts in the content of a message, also those in the results of tools."""
    if isinstance(content, str):
        return [valid_text(content)] if content else []
    texts: list[str] = []
    for block in objects_in(content):
        kind = block.get("type")
        if kind in _TEXTS:
            texts += [text] if (text := text_in(block, "text")) else []
        elif kind == _RESULT:
            inner = block.get("content")
            texts += texts_of(inner if isinstance(inner, str) else _blocks_of_result(block))
    return texts


def _blocks_of_result(block: JsonObject) -> list[JsonObject]:
    """Return the blocks in the result of a tool, without the results inside it."""
    return [inner for inner in objects_in(block.get("content")) if inner.get("type") != _RESULT]


def has_result(content: Json) -> bool:
    """Return whether one of the blocks of a message is the result of a tool call."""
    return _RESULT in [block.get("type") for block in objects_in(content)]


def _attachment(kind: str, block: JsonObject) -> Attachment:
    """Return a block's description, without its data."""
    source = object_in(block, "source") or block
    data = text_in(source, "data")
    url = text_in(source, "url") or text_in(block, "image_url")
    media_type = text_in(source, "media_type")
    if url.lstrip()[:5].lower() == "data:":
        head, _, data = url.lstrip().partition(",")
        url, media_type = "", media_type or head[5:].partition(";")[0]
    return Attachment(
        type=kind.removeprefix("input_"),
        media_type=media_type,
        url=url,
        bytes=len(data.rstrip("=")) * 3 // 4 if data and source.get("type") != "text" else None,
    )
