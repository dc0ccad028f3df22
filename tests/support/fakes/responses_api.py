"""A stand-in for OpenAI's Responses API."""

import json
from typing import Any

from .model_api import ANSWER, Answer, ModelApi, events

_USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}


class ResponsesApi(ModelApi):
    """Calls each tool by its own name, whatever its client has put before it."""

    def answer(self, body: dict[str, Any]) -> Answer:
        item: dict[str, Any] = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": ANSWER}],
        }
        if self.calls:
            name, arguments = self.calls.pop(0)
            function = next(one for one in _functions(body) if one["name"] == name)
            call_id = f"call_{len(self.requests)}"
            item = {"type": "function_call", "call_id": call_id, "arguments": json.dumps(arguments), **function}
        return events(
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {"id": "resp_1", "usage": _USAGE, "output": [item]}},
        )


def _functions(body: dict[str, Any]) -> list[dict[str, str]]:
    """Return the name, and the namespace if there is one, of each function that a request offers."""
    found: list[dict[str, str]] = []
    for tool in body.get("tools", ()):
        if tool["type"] == "namespace":
            found += [{"name": one["name"], "namespace": tool["name"]} for one in tool["tools"]]
        elif tool["type"] == "function":
            found.append({"name": tool["name"]})
    return found
