"""A stand-in for Anthropic's Messages API."""

import json
from typing import Any

from .model_api import ANSWER, Answer, ModelApi, events

_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class MessagesApi(ModelApi):
    """Before it calls a tool that is not offered yet, it searches for it."""

    def answer(self, body: dict[str, Any]) -> Answer:
        if not body.get("stream"):
            return "application/json", json.dumps({**_MESSAGE, "content": [{"type": "text", "text": ANSWER}]})
        number = len(self.requests)
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta, reason = {"type": "text_delta", "text": ANSWER}, "end_turn"
        if self.calls and body.get("tools"):
            name, arguments = self.calls[0]
            if name in (tool.get("name") for tool in body["tools"]):
                del self.calls[0]
            else:  # it is not loaded yet, or its server is still starting
                name, arguments = "ToolSearch", {"query": f"select:{name}"}
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
            delta, reason = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}, "tool_use"
        return events(
            {"type": "message_start", "message": _MESSAGE | {"id": f"msg_{number}"}},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        )
