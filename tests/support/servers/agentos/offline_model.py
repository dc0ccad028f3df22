"""A model that answers without any provider, and waits where a test tells it to."""

import asyncio
import json
from dataclasses import dataclass
from uuid import uuid4

from agno.metrics import MessageMetrics
from agno.models.base import Model
from agno.models.response import ModelResponse

GATES = {}


@dataclass
class Gate:
    """Where a run with "slow NAME" waits."""

    entered: asyncio.Event
    released: asyncio.Event


def gate(name):
    return GATES.setdefault(name, Gate(asyncio.Event(), asyncio.Event()))


@dataclass
class Offline(Model):
    """Answers by the last message's first word: weather and delegate call a tool, slow waits at a gate, fail fails."""

    id: str = "offline"
    name: str = "Offline"
    provider: str = "Nobody"

    async def ainvoke(self, messages, tools=None, **_):
        last = messages[-1]
        words = last.get_content_string().split()
        command, rest = (words[0], " ".join(words[1:])) if words else ("", "")
        if last.role == "tool":
            return _answer(f"The tool said: {last.get_content_string()}")
        if command == "fail":
            raise RuntimeError("the model failed, as it was asked to")
        if command == "slow":
            gate(words[1]).entered.set()
            await gate(words[1]).released.wait()
        if command == "weather":
            return _call("get_weather", {"city": rest})
        if command == "delegate" and "delegate_task_to_member" in str(tools):
            return _call("delegate_task_to_member", {"member_id": "helper", "task": rest})
        return _answer(f"You said: {last.get_content_string()}")

    async def ainvoke_stream(self, messages, **arguments):
        yield await self.ainvoke(messages, **arguments)

    def invoke(self, *_, **__):
        raise NotImplementedError

    def invoke_stream(self, *_, **__):
        raise NotImplementedError

    def _parse_provider_response(self, response, **_):
        return response

    def _parse_provider_response_delta(self, response):
        return response


def _answer(text):
    return ModelResponse(role="assistant", content=text, response_usage=_usage())


def _call(name, arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": f"call_{uuid4().hex[:8]}", "type": "function", "function": function}
    return ModelResponse(role="assistant", tool_calls=[call], response_usage=_usage())


def _usage():
    return MessageMetrics(input_tokens=10, output_tokens=5, total_tokens=15)


def get_weather(city: str) -> str:
    """Return the weather in a city."""
    return f"22 degrees in {city}"
