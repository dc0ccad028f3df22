"""After malformed, cut, interleaved and dropped requests over HTTP, the next call works."""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping

import anyio
import httpx2
import pytest

from ..support.http_calls import Calls, calls
from ..support.http_server import Server, running
from ..support.stdio_mutations import FRAMES, mutated

CLIENTS = 8
EACH = FRAMES // 10 // CLIENTS
ACCEPT = "application/json, text/event-stream"
GOOD: Mapping[str, str] = {"Content-Type": "application/json", "Accept": ACCEPT}
STRANGE: list[tuple[str, str]] = [
    ("Content-Type", "text/plain"),
    ("Content-Type", "application/json; charset=utf-16"),
    ("Accept", "image/png"),
    ("Accept", ""),
    ("MCP-Protocol-Version", "2099-01-01"),
    ("MCP-Protocol-Version", "\xff"),
    ("MCP-Protocol-Version", "2026-07-28"),
    ("MCP-Protocol-Version", "2025-11-25"),
    ("Mcp-Method", "tools/list"),
    ("Mcp-Name", "../"),
    ("Mcp-Session-Id", "0"),
    ("Last-Event-ID", "-1"),
    ("X-Session-Id", "%00"),
    ("Content-Encoding", "gzip"),
]
BYTES = [
    b"\x16\x03\x01\x02\0\x01\0\xfc",
    b"POST /mcp HTTP/9.9\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n{}",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{}",
    b"GET /mcp HTTP/1.1\r\nHost: " + b"x" * 100_000 + b"\r\n\r\n",
    b"\r\n" * 1_000,
    b"\0" * 70_000,
]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    """Yield a server, and check at the end that it still runs and has logged no failure."""
    folder = tmp_path_factory.mktemp("server")
    options = ("--port", "0", "--rate", "0", "--max-concurrent", "256", "--log-level", "ERROR")
    async with running(folder, *options, deadline=3600) as server:
        yield server
        server.process.terminate()
        assert await server.rest() == (0, "", "")


async def assert_works(client: Calls) -> None:
    assert (await client.call("list_sessions"))["sessions"] == []


async def send_frames(http: httpx2.AsyncClient, url: str, seed: int, statuses: Counter[int]) -> None:
    """Send frames, and cancel some at once. Check that each is refused, or answered if it is valid by chance."""
    chance = random.Random(seed)
    for number in range(EACH):
        body = mutated(number, chance).replace(b"look", b"list_sessions")
        headers = {**GOOD, **dict(chance.sample(STRANGE, chance.choice([0, 0, 1, 2])))}
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        with anyio.move_on_after(chance.choice([0.005, 30, 30, 30])):
            response = await http.post(url, content=body, headers=encoded)
            statuses[response.status_code] += 1
            assert "Traceback" not in response.text


@pytest.mark.load
@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
async def test_after_any_mutated_frame_the_next_call_works(server: Server, era: str) -> None:
    statuses: Counter[int] = Counter()
    async with httpx2.AsyncClient(timeout=30, trust_env=False, verify=False) as http, calls(server.url, era) as good:
        async with anyio.create_task_group() as tasks:
            for seed in range(CLIENTS):
                tasks.start_soon(send_frames, http, server.url, seed, statuses)
            for _ in range(EACH):
                await assert_works(good)
        await assert_works(good)
    print(statuses)
    assert max(statuses) < 500
    assert statuses[400] > statuses.total() / 4


@pytest.mark.parametrize("data", BYTES)
async def test_after_bytes_that_are_not_a_request_the_next_call_works(server: Server, data: bytes) -> None:
    async with await anyio.connect_tcp("127.0.0.1", int(server.root.rpartition(":")[2])) as stream:
        await stream.send(data)
        await stream.send_eof()
        said = b""
        with anyio.fail_after(30):
            try:
                while True:
                    said += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
    assert said == b"" or said.startswith(b"HTTP/1.1 4")
    async with calls(server.url) as good:
        await assert_works(good)


async def test_pipelined_requests_are_served_in_order(server: Server) -> None:
    async with calls(server.url) as good:
        one = good.request("list_sessions", {})
    head = b"".join(b"%b: %b\r\n" % pair for pair in one.headers.raw)
    wire = b"POST /mcp HTTP/1.1\r\n" + head + b"\r\n" + one.content
    async with await anyio.connect_tcp("127.0.0.1", int(server.root.rpartition(":")[2])) as stream:
        await stream.send(wire * 5)
        said = b""
        with anyio.fail_after(30):
            while said.count(b'"sessions":[]') < 5:
                said += await stream.receive()
    assert said.count(b"HTTP/1.1 200") == 5
