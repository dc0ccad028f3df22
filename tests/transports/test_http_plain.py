"""Calls over HTTP that are answered with JSON, and become a stream only if they take long."""

import asyncio
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server import MCPServer
from starlette.types import Message

from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.http.app import http_app
from mcp_sessions.transports.http.plain_answers import LateAnswer
from mcp_sessions.transports.http.server import StoppableApp
from tests.support.stdio_client import modern

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as uvicorn


async def reachable() -> None:
    """Accept any check, as a backend that is always reachable."""


async def test_a_call_without_progress_runs_in_the_task_of_its_request() -> None:
    server = MCPServer("counting")

    @server.tool()
    async def count_tasks() -> str:  # pyright: ignore[reportUnusedFunction]  # it is registered
        return str(len(asyncio.all_tasks()))

    app = StoppableApp(http_app(server, "127.0.0.1", reachable, AccessRules()))
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "count_tasks",
    }
    async with server.session_manager.run(), httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:

        async def count(**meta: Any) -> int:
            frame = modern(1, "tools/call", name="count_tasks", arguments={})
            frame["params"]["_meta"] |= meta
            answer = await http.post("http://127.0.0.1/mcp", json=frame, headers=headers)
            return int(answer.json()["result"]["content"][0]["text"])

        assert await count() == len(asyncio.all_tasks())
        assert await count(progressToken=1) == len(asyncio.all_tasks()) + 2


async def test_an_answer_that_takes_long_becomes_the_last_event_of_a_stream() -> None:
    sent: list[Message] = []
    has_pinged_twice = anyio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            has_pinged_twice.set()

    answer = LateAnswer(send, 0)
    with anyio.fail_after(5):
        await has_pinged_twice.wait()
    await answer.send({"type": "http.response.start", "status": 200, "headers": []})
    await answer.send({"type": "http.response.body", "body": b"{}"})
    start, *pings, end = sent
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"text/event-stream")
    assert {(ping["body"], ping["more_body"]) for ping in pings} == {(b": ping\r\n\r\n", True)}
    assert end == {"type": "http.response.body", "body": b"event: message\r\ndata: {}\r\n\r\n"}


async def test_an_answer_in_time_is_sent_as_it_is() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    answer = LateAnswer(send, 60)
    body: Message = {"type": "http.response.body", "body": b"{}"}
    await answer.send(body)
    assert sent == [body]
