"""A few tools to be called over real HTTP: `http_server.py PIPE DRAIN_SECONDS`."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.http.server import listen, serve_http

PIPE = Path(sys.argv[1])
entered: list[str] = []


@asynccontextmanager
async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[None]:
    entered.append("once")
    yield


server = MCPServer("http-test", version="1.0", lifespan=lifespan, log_level="WARNING")


@server.tool()
async def count_starts() -> int:
    return len(entered)


@server.tool()
async def wait_for_word(ctx: Context) -> str:
    """Report that the call has begun, and return what is written to the pipe."""
    await ctx.report_progress(0)
    return await anyio.to_thread.run_sync(PIPE.read_text)


@server.tool()
async def wait_for_ever(ctx: Context) -> str:
    """Report that the call has begun, and write to the pipe when it is cancelled."""
    await ctx.report_progress(0)
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(PIPE.write_text, "cancelled")
    raise AssertionError


@server.tool()
async def wait_silently() -> str:
    """Write to the pipe when the call has begun."""
    await anyio.to_thread.run_sync(PIPE.write_text, "begun")
    await anyio.sleep_forever()
    raise AssertionError


def announce(url: str) -> None:
    print(f"mcp-sessions: serving at {url}", file=sys.stderr, flush=True)


async def reachable() -> None: ...


if __name__ == "__main__":
    with listen("127.0.0.1", 0, AccessRules()) as listener:
        drain_seconds = float(sys.argv[2])
        anyio.run(serve_http, server, listener, reachable, announce, AccessRules(), drain_seconds)
