"""How many requests are sent at the same time, how long they may take, and how they end."""

from collections import Counter
from collections.abc import AsyncGenerator

import anyio
import pytest

from mcp_sessions.backends.deadline import deadline
from mcp_sessions.backends.http.client import AnswerLost, HttpClient, Reply
from mcp_sessions.errors import (
    BadResponse,
    Busy,
    Conflict,
    Invalid,
    NotFound,
    RateLimited,
    SessionsError,
    Timeout,
    Unavailable,
)
from tests.support.servers.toxic_server import Connection, ToxicServer, toxic_server, whole


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.variants)], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def server() -> AsyncGenerator[ToxicServer]:
    async with toxic_server() as server:
        yield server


class Gate:
    """A response that waits for an event."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.reached = anyio.Event()

    async def answer(self, connection: Connection) -> None:
        self.reached.set()
        await self.opened.wait()
        await whole()(connection)


@pytest.mark.slow
async def test_of_3000_slow_reads_8_run_256_wait_and_the_others_are_refused(server: ToxicServer) -> None:
    gate, outcomes = Gate(), Counter[str]()
    server.default = gate.answer

    async def read(client: HttpClient) -> None:
        try:
            await client.read("/sessions")
            outcomes["ok"] += 1
        except Busy as error:
            assert "Try again in" in error.text
            outcomes["busy"] += 1
            if outcomes["busy"] == 3_000 - 8 - 256:
                gate.opened.set()

    async with HttpClient(server.url, system="AgentOS") as client:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(3_000):
                    tasks.start_soon(read, client)
        assert outcomes == {"ok": 264, "busy": 2_736}
        assert server.most_at_once <= 8
        assert server.connections <= 8


async def test_waiting_in_the_queue_counts_towards_the_deadline(server: ToxicServer) -> None:
    gate, raised = Gate(), list[SessionsError]()
    server.default = gate.answer

    async def change(client: HttpClient, seconds: float) -> None:
        with deadline(seconds), pytest.raises(SessionsError) as caught:
            await client.change("DELETE", "/sessions/a")
        raised.append(caught.value)

    async with HttpClient(server.url, system="AgentOS", concurrency=1) as client:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(change, client, 1.5)
                await gate.reached.wait()
                tasks.start_soon(change, client, 0.5)
    assert [type(error) for error in raised] == [Busy, AnswerLost]
    assert len(server.received) == 1


async def test_all_requests_of_a_call_share_one_deadline(server: ToxicServer) -> None:
    server.script = [whole(), Connection.until_closed]
    async with HttpClient(server.url, system="AgentOS", timeout=1) as client:
        with anyio.fail_after(15), deadline(client.timeout):
            await client.read("/a")
            with deadline(client.timeout), pytest.raises(Timeout, match="within 1 s"):
                await client.read("/b")
            for request in (client.read("/c"), client.change("DELETE", "/d")):
                with deadline(client.timeout), pytest.raises(Timeout):
                    await request
        await client.read("/e")
    assert [one.target for one in server.received] == ["/a", "/b", "/e"]


async def test_a_change_without_a_response_leaves_time_for_reading_back(server: ToxicServer) -> None:
    server.script = [Connection.until_closed]
    async with HttpClient(server.url, system="AgentOS", timeout=2) as client:
        with anyio.fail_after(15), deadline(client.timeout):
            with pytest.raises(AnswerLost) as caught:
                await client.change("DELETE", "/sessions/a")
            assert not caught.value.ended
            await client.read("/sessions/a")


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_cancelled_request_closes_its_connection_and_leaves_the_queue(server: ToxicServer, method: str) -> None:
    reached, closed = anyio.Event(), anyio.Event()

    async def stall(connection: Connection) -> None:
        reached.set()
        await connection.until_closed()
        closed.set()

    async def request(client: HttpClient) -> None:
        await (client.read("/sessions") if method == "GET" else client.change(method, "/sessions"))

    server.script = [stall]
    async with HttpClient(server.url, system="AgentOS", concurrency=1) as client:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(request, client)
                await reached.wait()
                tasks.cancel_scope.cancel()
            await closed.wait()
            await client.read("/next")


async def test_a_body_is_read_up_to_its_limit(server: ToxicServer) -> None:
    server.default = whole(200, b"x" * 5_000)
    async with HttpClient(server.url, system="AgentOS") as client:
        assert len((await client.read("/sessions", max_bytes=5_000)).body) == 5_000
        with pytest.raises(BadResponse, match="more than 4999 bytes"):
            await client.read("/sessions", max_bytes=4_999)


async def test_a_body_whose_declared_length_is_too_long_is_not_read(server: ToxicServer) -> None:
    async def announces(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        await connection.until_closed()

    server.default = announces
    async with HttpClient(server.url, system="AgentOS") as client:
        with anyio.fail_after(5), pytest.raises(BadResponse, match="more than 32 MiB"):
            await client.read("/sessions")


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (422, Conflict), (429, RateLimited), (500, Unavailable), (302, BadResponse)]
)
async def test_only_a_4xx_error_quotes_the_beginning_of_the_body(
    server: ToxicServer, status: int, error: type[SessionsError]
) -> None:
    seen: list[Reply] = []

    def explain(reply: Reply, credential: str) -> SessionsError | None:
        seen.append(reply)
        return Conflict("the name is taken. Choose another.") if reply.status == 422 else None

    server.default = whole(status, b"x" * 100_000)
    async with HttpClient(server.url, system="AgentOS", explain=explain) as client:
        with pytest.raises(error) as caught:
            await client.change("DELETE", "/sessions/a") if 400 <= status < 500 else await client.read("/sessions")
    assert caught.value.code == error.code
    assert {(reply.status, len(reply.body)) for reply in seen} <= {(status, 65_536)}
    assert bool(seen) is (400 <= status < 500)


async def test_a_4xx_body_that_is_not_json_is_not_quoted(server: ToxicServer) -> None:
    def explain(reply: Reply, credential: str) -> SessionsError | None:
        return Conflict(reply.json()["detail"])

    server.default = whole(404, b"<html>")
    async with HttpClient(server.url, system="AgentOS", explain=explain) as client:
        with pytest.raises(NotFound):
            await client.read("/sessions/a")


async def test_a_client_that_is_not_open_is_unavailable(server: ToxicServer) -> None:
    client = HttpClient(server.url, system="AgentOS")
    with pytest.raises(Unavailable, match="async with"):
        await client.read("/sessions")
    async with client:
        await client.read("/sessions")
    with pytest.raises(Unavailable, match="async with"):
        await client.change("DELETE", "/sessions/a")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_in_the_environment_is_used_only_if_configured(
    server: ToxicServer, name: str, monkeypatch: pytest.MonkeyPatch, without_proxies: None
) -> None:
    async with toxic_server() as proxy:
        monkeypatch.setenv(name, proxy.url)
        async with HttpClient(server.url, system="AgentOS") as client:
            await client.read("/sessions")
        assert (len(server.received), len(proxy.received)) == (1, 0)
        async with HttpClient(server.url, system="AgentOS", trust_env=True) as client:
            await client.read("/sessions")
        assert (len(server.received), proxy.received[0].target) == (1, f"{server.url}/sessions")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with HttpClient(server.url, system="AgentOS", trust_env=True) as client:
            await client.read("/sessions")
        assert (len(server.received), len(proxy.received)) == (2, 1)


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1", "http://[::1"])
async def test_a_proxy_that_cannot_be_used_is_invalid(
    proxy: str, monkeypatch: pytest.MonkeyPatch, without_proxies: None
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(Invalid, match="proxy"):
        async with HttpClient("http://localhost", system="AgentOS", trust_env=True):
            pass


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
