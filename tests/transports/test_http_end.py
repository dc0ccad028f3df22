"""How calls over HTTP end when their client disconnects or the server shuts down."""

import os
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult

from tests.support.clients import both_eras, text_of
from tests.support.fork_server import forked
from tests.support.http_server import DEADLINE, ROOT, Server, connected, running
from tests.support.stdio_client import modern

SCRIPT = str(ROOT / "tests/support/servers/http_server.py")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def started(pipe: Path, grace: str) -> AbstractAsyncContextManager[Server]:
    """Start a server whose calls at its end get `grace` seconds; `wait_for_word` reads from the pipe."""
    return running(pipe.parent, str(pipe), grace, command=forked(SCRIPT))


async def read(pipe: Path) -> str:
    """Return what the server writes to the pipe. Give up with the test if no process opens the other end."""
    return await anyio.to_thread.run_sync(pipe.read_text, abandon_on_cancel=True)


async def write(pipe: Path, word: str) -> None:
    """Write a word that the server reads. Give up with the test if no process opens the other end."""
    await anyio.to_thread.run_sync(pipe.write_text, word, abandon_on_cancel=True)


class Call:
    """A call that goes on in the background."""

    def __init__(self, client: Client, tool: str) -> None:
        self._client = client
        self._tool = tool
        self._has_begun = anyio.Event()
        self.result: CallToolResult | None = None

    async def run(self) -> None:
        self.result = await self._client.call_tool(self._tool, progress_callback=self._begin)

    async def begun(self) -> None:
        await self._has_begun.wait()

    async def _begin(self, progress: float, total: float | None, message: str | None) -> None:
        self._has_begun.set()


async def refuses_connections(server: Server) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        with pytest.raises(httpx2.ConnectError):
            while True:
                with suppress(httpx2.ReadError, httpx2.RemoteProtocolError):  # it ended between accept and answer
                    await http.get(f"{server.root}/healthz", headers={"Connection": "close"})


@both_eras
async def test_the_lifespan_is_entered_once(era: str, pipe: Path) -> None:
    async with started(pipe, "20") as server:
        for _ in range(3):
            async with connected(server.url, era) as client:
                assert text_of(await client.call_tool("count_starts")) == "1"


@pytest.mark.slow
@both_eras
async def test_a_running_call_completes_at_shutdown_and_new_ones_are_refused(era: str, pipe: Path) -> None:
    async with (
        started(pipe, "20") as server,
        connected(server.url, era) as client,
    ):
        await client.list_tools()  # else the client asks for them when it has the result, to check it by its schema
        call = Call(client, "wait_for_word")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await call.begun()
            server.process.terminate()
            await refuses_connections(server)
            await anyio.sleep(0.6)  # what streams an answer looks every half second whether to break off
            await write(pipe, "done")
        assert call.result is not None
        assert text_of(call.result) == "done"
        assert await server.rest() == (0, "", "")


@both_eras
async def test_a_call_too_slow_for_the_shutdown_is_cancelled_and_its_client_is_told(era: str, pipe: Path) -> None:
    async with (
        started(pipe, "0.1") as server,
        connected(server.url, era) as client,
    ):
        call = Call(client, "wait_for_ever")
        failed = False
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                nonlocal failed
                with pytest.raises(MCPError):
                    await call.run()
                failed = True

            tasks.start_soon(run)
            await call.begun()
            server.process.terminate()
            assert await read(pipe) == "cancelled"
        assert failed
        status, out, errors = await server.rest()
        assert (status, out) == (0, "")
        assert "1 calls took too long while the server was stopping" in errors
        assert "Traceback" not in errors


async def test_a_client_waiting_at_shutdown_is_told_to_check_before_retrying(pipe: Path) -> None:
    async with started(pipe, "0.1") as server, httpx2.AsyncClient(verify=False) as http:
        answers: list[httpx2.Response] = []

        async def ask() -> None:
            frame = modern(1, "tools/call", name="wait_silently", arguments={})
            named = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "wait_silently"}
            headers = {"Accept": "application/json, text/event-stream", **named}
            answers.append(await http.post(server.url, json=frame, headers=headers, timeout=DEADLINE))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            assert await read(pipe) == "begun"
            server.process.terminate()
        (answer,) = answers
        assert answer.status_code == 503
        assert "before repeating it" in answer.json()["error"]["message"]


@both_eras
async def test_a_client_that_disconnects_cancels_its_call(era: str, pipe: Path) -> None:
    async with started(pipe, "20") as server:
        async with connected(server.url, era) as client, anyio.create_task_group() as tasks:
            call = Call(client, "wait_for_ever")
            tasks.start_soon(call.run)
            await call.begun()
            tasks.cancel_scope.cancel()
        assert await read(pipe) == "cancelled"
