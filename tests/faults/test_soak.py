"""Mixed calls from many clients with continuous faults: memory and descriptors don't grow."""

import os
import random
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import pytest

from mcp_sessions.json_documents import JsonObject

from ..support.http_calls import Calls, calls
from ..support.http_server import environment, running
from ..support.servers import toxic_proxy
from ..support.servers.toxic_proxy import Proxy
from ..support.stdio_client import Peer, modern
from .cases import CODES
from .faults import FAULTS
from .systems import TOKEN, System, agentos

SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
CLIENTS = 16  # over HTTP, half of them on each server
MEGABYTES = 10  # by which memory may have grown since a tenth of the time: a leak of 1 KB a call takes 70 in 15 minutes
DROPPED = 0.02  # of all calls: their client goes away
OPTIONS = ("--confirm", "off", "--timeout", "1", "--toolsets", "all", "--log-level", "ERROR")
AT_ONCE = ("--rate", "0", "--max-concurrent", "256")
KEPT = 8  # connections to the backend that wait for the next call
STEPS: list[tuple[str, JsonObject]] = [
    ("list_sessions", {"limit": 100}),
    ("search_sessions", {"query": "session"}),
    ("get_session", {"session_id": "own"}),
    ("get_session_history", {"session_id": "own"}),
    ("rename_session", {"session_id": "own", "name": "renamed"}),
    ("update_session_state", {"session_id": "own", "changes": {"text": "x" * 5_000}}),
    ("archive_session", {"session_id": "own"}),
    ("restore_session", {"session_id": "own"}),
    ("delete_session", {"session_id": "own"}),
    ("get_session", {"session_id": 7}),
]
Call = Callable[[str, JsonObject], Awaitable[JsonObject]]
"""Of a tool, with its arguments: the result."""


@dataclass
class Client:
    """One that has a session of its own as long as it can be had."""

    call: Call
    chance: random.Random
    codes: Counter[str]
    own: str = ""

    async def work(self, ends_at: float) -> None:
        while anyio.current_time() < ends_at:
            tool, arguments = self.chance.choice(STEPS) if self.own else ("create_session", {"name": "a session"})
            given = {name: self.own if value == "own" else value for name, value in arguments.items()}
            seconds = 0.01 if self.chance.random() < DROPPED else 30
            with anyio.move_on_after(seconds) as scope:
                self._tell(tool, await self.call(tool, given))
            self.codes["dropped"] += scope.cancelled_caught

    def _tell(self, tool: str, result: JsonObject) -> None:
        text: str = result["content"][0]["text"]
        code = text.partition(":")[0] if result.get("isError") else ""
        assert not code or code in CODES, text
        self.codes[code or "ok"] += 1
        if tool == "create_session":
            self.own = "" if code else result["structuredContent"]["id"]
        elif tool == "delete_session" and code in ("", "not_found"):
            self.own = ""


@dataclass
class Usage:
    """The memory and descriptors of an idle process."""

    kilobytes: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        (resident,) = [int(line.split()[1]) for line in status if line.startswith("VmRSS:")]
        return cls(resident, len(list(Path(f"/proc/{pid}/fd").iterdir())))


def over_stdio(peer: Peer) -> Call:
    numbers = count()

    async def call(tool: str, arguments: JsonObject) -> JsonObject:
        answer = await peer.ask(modern(next(numbers), "tools/call", name=tool, arguments=arguments))
        peer.received.clear()
        return answer["result"]

    return call


def over_http(client: Calls) -> Call:
    return lambda tool, arguments: client.result(tool, **arguments)


async def load(urls: Sequence[str], stdio: Peer, seconds: float, codes: Counter[str]) -> None:
    """Send calls for this many seconds, then disconnect all clients over HTTP."""
    ends_at = anyio.current_time() + seconds
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        ways = [over_stdio(stdio)]
        for number in range(CLIENTS):
            era = ("2026-07-28", "2025-11-25")[number // 2 % 2]
            ways.append(over_http(await stack.enter_async_context(calls(urls[number % 2], era))))
        for number, way in enumerate(ways):
            tasks.start_soon(Client(way, random.Random(number), codes).work, ends_at)


async def misfortune(proxy: Proxy, system: System) -> None:
    """Cause one fault after another, with times without faults between them."""
    chance = random.Random(1)
    while True:
        await anyio.sleep(chance.uniform(0, 0.5))
        fault = chance.choice(list(FAULTS.values()))
        proxy.spoil, proxy.phase = fault.spoil, chance.choice(fault.phases)
        await anyio.sleep(chance.uniform(0, 0.3))
        proxy.spoil = None
        proxy.received.clear()
        system.fake.requests.clear()


@asynccontextmanager
async def stdio_server(folder: Path) -> AsyncGenerator[Peer]:
    """Yield a client of a server on the embedded store, whose stderr goes into the folder."""
    command = (sys.executable, "-m", "mcp_sessions", "serve", *OPTIONS)
    with (folder / "stderr").open("wb") as stderr:
        process = await anyio.open_process(command, stderr=stderr, env=environment(folder))
    async with process:
        yield Peer(process, folder / "stderr")
        assert process.stdin is not None
        await process.stdin.aclose()
        await process.wait()


@pytest.mark.load
async def test_memory_and_descriptors_do_not_grow_under_load_with_faults(tmp_path: Path) -> None:
    codes: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(agentos())
        proxy = await stack.enter_async_context(toxic_proxy.before(system.origin, system.is_change))
        backend = ("--backend", system.url(proxy.url))
        start = partial(running, tmp_path, deadline=SECONDS + 120, variables={"MCP_SESSIONS_TOKEN": TOKEN})
        servers = [
            await stack.enter_async_context(start("--port", "0", *OPTIONS, *AT_ONCE, *more)) for more in ((), backend)
        ]
        stdio = await stack.enter_async_context(stdio_server(tmp_path))
        pids = [server.process.pid for server in servers] + [stdio.process.pid]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(misfortune, proxy, system)
        usage: list[list[Usage]] = []
        for part in (0.1, 0.9):
            await load([server.url for server in servers], stdio, part * SECONDS, codes)
            usage.append([Usage.of(pid) for pid in pids])
        tasks.cancel_scope.cancel()
        for server in servers:
            server.process.terminate()
            assert "Traceback" not in (await server.rest())[2]
    print(dict(codes), *usage, sep="\n")
    assert (tmp_path / "stderr").read_text() == ""
    for early, late in zip(*usage, strict=True):
        assert late.kilobytes - early.kilobytes < MEGABYTES * 1024
        assert late.descriptors <= early.descriptors + KEPT
    assert codes["ok"] > codes.total() / 4
