"""A server process on a free port, and real clients of it."""

import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import httpx2
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from .fork_server import forked

ROOT = Path(__file__).parents[2]
DEADLINE = 60
COMMAND = (sys.executable, "-m", "mcp_sessions", "serve", "--transport", "http")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(folder), "HOME": str(folder)}


@dataclass
class Server:
    """A running process, from its line that says where it serves."""

    process: anyio.abc.Process
    url: str
    errors: BufferedByteReceiveStream

    @property
    def root(self) -> str:
        return self.url.removesuffix("/mcp")

    async def rest(self) -> tuple[int, str, str]:
        """Wait for the end. Return the exit status, stdout, and stderr after its first line."""
        assert self.process.stdout is not None
        said = [await _all_of(stream) for stream in (self.process.stdout, self.errors)]
        return await self.process.wait(), said[0], said[1]


async def _all_of(stream: anyio.abc.ByteReceiveStream) -> str:
    return b"".join([chunk async for chunk in stream]).decode()


@asynccontextmanager
async def running(
    folder: Path,
    *arguments: str,
    command: Sequence[str] = (),
    deadline: float = DEADLINE,
    variables: Mapping[str, str] | None = None,
) -> AsyncGenerator[Server]:
    """Run `mcp-sessions serve --transport http` with these variables, on a free port unless told otherwise."""
    given = [*(command or forked(*COMMAND[1:])), *(arguments or ("--port", "0"))]
    process = await anyio.open_process(given, env={**environment(folder), **(variables or {})})
    assert process.stderr is not None
    errors = BufferedByteReceiveStream(process.stderr)
    try:
        with anyio.fail_after(deadline):
            line = (await errors.receive_until(b"\n", 4096)).decode()
            assert line.startswith("mcp-sessions: ") and "serving at http://" in line, line
            yield Server(process, line.split()[-1], errors)
    finally:
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(10, shield=True):
                await process.wait()
        if process.returncode is None:  # a test that failed may have left a thread of it waiting
            process.kill()
        await process.aclose()


@asynccontextmanager
async def connected(url: str, era: str = "2026-07-28", **headers: str) -> AsyncGenerator[Client]:
    """Yield a client that sends these headers with every request. `_` in their names stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    http = httpx2.AsyncClient(headers=named, timeout=DEADLINE, trust_env=False, verify=False)
    async with http, Client(streamable_http_client(url, http_client=http), mode=era) as client:
        yield client
