"""Limits over HTTP: concurrent calls, size and rate of requests. Disconnected clients free their place."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import ResourceTemplateReference

from mcp_sessions.errors import RateLimited
from mcp_sessions.server.rate_limit import RateLimiter
from tests.support.clients import both_eras, text_of
from tests.support.fakes.agentos import FakeAgentOs, Fault
from tests.support.http_calls import calls
from tests.support.http_server import Server, connected, running
from tests.support.http_tokens import ACCEPT, LIST, add, guarded, status

ERAS = pytest.mark.parametrize("era", ["2026-07-28", "2025-06-18"])
ALL = "sessions:read sessions:write sessions:delete"


@asynccontextmanager
async def with_room_for_two(folder: Path) -> AsyncGenerator[tuple[Server, FakeAgentOs]]:
    async with FakeAgentOs() as fake:
        url = f"agentos+{fake.url}"
        async with running(folder, "--port", "0", "--max-concurrent", "2", "--backend", url) as server:
            async with calls(server.url) as first:
                await first.call("list_sessions")
            yield server, fake


def held(fake: FakeAgentOs) -> list[Fault]:
    """Hold the responses to the next two lists of sessions until they are released."""
    faults = [Fault("hold", method="GET", path="/sessions") for _ in range(2)]
    fake.faults += faults
    return faults


@ERAS
async def test_too_many_concurrent_calls_are_told_to_retry(era: str, tmp_path: Path) -> None:
    async with (
        with_room_for_two(tmp_path) as (server, fake),
        calls(server.url, era) as peer,
        httpx2.AsyncClient(trust_env=False, verify=False) as http,
    ):
        faults = held(fake)
        async with anyio.create_task_group() as tasks:
            for fault in faults:
                tasks.start_soon(peer.call, "list_sessions")
                await fault.entered.wait()
            for _ in range(3):
                said = await http.post(server.url, json=LIST, headers=ACCEPT)
                assert (said.status_code, said.headers["retry-after"]) == (503, "1")
                assert said.json()["error"]["message"] == (
                    "busy: too many concurrent calls on this server (2). Try again in 1 second."
                )
            assert (await http.get(f"{server.root}/healthz")).status_code == 200
            for fault in faults:
                fault.released.set()
        assert (await peer.call("list_sessions"))["sessions"] == []


async def free_again(server: Server, era: str) -> None:
    """Wait until the server no longer answers 503."""
    async with calls(server.url, era) as peer, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        with anyio.fail_after(5):
            while (await http.send(peer.request("list_sessions", {}))).status_code == 503:  # noqa: ASYNC110 - a process
                await anyio.sleep(0.02)


@ERAS
async def test_a_disconnected_client_frees_its_place(era: str, tmp_path: Path) -> None:
    async with with_room_for_two(tmp_path) as (server, fake):
        for _ in range(3):
            faults = held(fake)
            async with anyio.create_task_group() as tasks, calls(server.url, era) as peer:
                for fault in faults:
                    tasks.start_soon(peer.call, "list_sessions")
                    await fault.entered.wait()
                tasks.cancel_scope.cancel()
            await free_again(server, era)
            for fault in faults:
                fault.released.set()


@ERAS
async def test_a_client_that_disconnects_within_its_request_frees_its_place(era: str, tmp_path: Path) -> None:
    async with with_room_for_two(tmp_path) as (server, _):
        head = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        head += f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {era}\r\n\r\n{{"
        for _ in range(4):
            stream = await anyio.connect_tcp("127.0.0.1", int(server.root.rpartition(":")[2]))
            await stream.send(head.encode())
            await stream.aclose()
        await free_again(server, era)
        server.process.terminate()
        assert await server.rest() == (0, "", "")


@both_eras
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_that_is_too_large_is_refused(era: str, chunked: bool, tmp_path: Path) -> None:
    token = add(tmp_path / "tokens", "ada")
    given = ["--port", "0", "--max-body", "1024", "--tokens", str(tmp_path / "tokens")]
    version = {"MCP-Protocol-Version": era} if era != "legacy" else {}

    async def parts() -> AsyncGenerator[bytes]:
        for _ in range(5):
            yield b" " * 250

    async with running(tmp_path, *given) as server, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        for bearer, expected in ((token, 413), ("wrong", 401)):
            headers = {**ACCEPT, **version, "Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
            content = parts() if chunked else b" " * 1025
            assert (await http.post(server.url, content=content, headers=headers)).status_code == expected
        assert await status(server.url, f"Bearer {token}") == 200


@both_eras
async def test_only_the_caller_over_the_rate_limit_is_told_to_retry(era: str, tmp_path: Path) -> None:
    async with guarded(tmp_path, "--rate", "3", ada=ALL, bob=ALL) as (server, tokens):
        async with connected(server.url, era, Authorization=f"Bearer {tokens['ada']}") as ada:
            for _ in range(5):
                await ada.list_tools()  # costs nothing of the backend
            await ada.list_resources()
            assert not (await ada.call_tool("list_sessions")).is_error
            assert (await ada.call_tool("get_session", {"session_id": "absent"})).is_error
            limited = text_of(await ada.call_tool("list_sessions"))
            expected = r"rate_limited: more than 3 calls a minute\. Call again in (1\d|20) seconds\."
            with pytest.raises(MCPError, match=expected):
                await ada.list_resources()
            with pytest.raises(MCPError, match=expected):
                await ada.read_resource("session://absent")
            template = ResourceTemplateReference(uri="session://{session_id}")
            assert (await ada.complete(template, {"name": "session_id", "value": ""})).completion.values == []
            with pytest.raises(ValueError, match=expected):
                raise ValueError(limited)
            assert text_of(await ada.call_tool("create_session", {})).startswith("rate_limited: ")
        async with connected(server.url, era, Authorization=f"Bearer {tokens['bob']}") as bob:
            assert (await bob.call_tool("list_sessions")).structured_content == {"sessions": [], "total": 0}


def left(rate: RateLimiter, subject: str) -> int:
    """Return how many calls a caller may make now."""
    for number in count():
        try:
            rate.count(subject)
        except RateLimited:
            return number
    raise AssertionError


def test_the_rate_limit_refills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("anyio.current_time", lambda: now)
    rate = RateLimiter(60)
    assert left(rate, "ada") == 60
    with pytest.raises(RateLimited, match=r"more than 60 calls a minute\. Call again in 1 second\.$"):
        rate.count("ada")
    now += 0.9
    assert left(rate, "ada") == 0
    now += 0.1
    assert left(rate, "ada") == 1
    now += 10
    assert left(rate, "ada") == 10
    now += 100_000
    assert (left(rate, "ada"), left(rate, "bob")) == (60, 60)
    slow = RateLimiter(1)
    slow.count("ada")
    with pytest.raises(RateLimited, match=r"Call again in 60 seconds\.$"):
        slow.count("ada")
    for number in range(10_000):
        slow.count(str(number))
    slow.count("ada")  # forgotten, among so many others since
    unlimited = RateLimiter(0)
    for _ in range(1000):
        unlimited.count("ada")
