"""Clients that send slowly or use all they can get: others are served meanwhile."""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from mcp_sessions.transports.http import connections, limits
from mcp_sessions.transports.http.endpoint import Endpoint
from mcp_sessions.transports.http.limits import limit_body
from tests.support.fakes.agentos import FakeAgentOs, Fault
from tests.support.http_calls import calls
from tests.support.http_server import running
from tests.support.http_tokens import add

DEADLINE = 10


async def test_one_caller_cannot_use_all_places(tmp_path: Path) -> None:
    ada, bob = add(tmp_path / "tokens", "ada"), add(tmp_path / "tokens", "bob")
    async with FakeAgentOs() as fake, AsyncExitStack() as stack:
        options = ("--port", "0", "--max-concurrent", "6", "--backend", f"agentos+{fake.url}")
        server = await stack.enter_async_context(running(tmp_path, *options, "--tokens", str(tmp_path / "tokens")))
        hers, his = [await stack.enter_async_context(calls(server.url, token=token)) for token in (ada, bob)]
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, verify=False))
        await his.call("list_sessions")
        faults = [Fault("hold", method="GET", path="/sessions") for _ in range(4)]
        fake.faults += faults
        async with anyio.create_task_group() as tasks:
            for fault in faults:
                tasks.start_soon(hers.call, "list_sessions")
                await fault.entered.wait()
            refused = await http.send(hers.request("list_sessions", {}))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["error"]["message"].startswith("busy: you have too many concurrent calls (4). ")
            assert (await his.call("list_sessions"))["sessions"] == []
            for fault in faults:
                fault.released.set()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a body may take."""
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)


def receiving(*parts: bytes) -> Receive:
    """Return an ASGI receive function that yields these parts of a body, and then waits forever."""
    left = list(parts)

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


@pytest.mark.usefixtures("hurried")
async def test_a_body_that_takes_too_long_is_refused() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    scope: Scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"9000")]}
    with anyio.fail_after(DEADLINE):
        await limit_body(Endpoint(app), 10_000)(scope, receiving(b"{", b" "), send)
    assert sent[0]["status"] == 408


@pytest.mark.usefixtures("hurried")
async def test_a_client_that_waits_for_a_slow_response_is_not_timed_out() -> None:
    answered: list[Message] = []
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    sent: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == body
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        if sent:
            return sent.pop()
        await anyio.sleep(0.1)  # longer than a body may take
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)

    scope: Scope = {"type": "http", "method": "POST", "headers": []}
    await limit_body(Endpoint(app), 10_000)(scope, receive, send)
    assert [message["status"] for message in answered] == [200]


@pytest.mark.slow
async def test_a_connection_with_incomplete_headers_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        stream = await anyio.connect_tcp("127.0.0.1", int(server.root.rpartition(":")[2]))
        async with stream:
            await stream.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            with anyio.fail_after(connections.HEADER_SECONDS + DEADLINE):
                while True:
                    try:
                        await stream.receive()
                    except anyio.EndOfStream:
                        break
