"""A few tools to be called over real pipes: `stdio_server.py ours|sdk|trio|thread|slow_start MARKER`."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp.types import RequestParams
from pydantic import BaseModel

from mcp_sessions.transports.stdio.server import serve_stdio

MODE = sys.argv[1]
MARKER = anyio.Path(sys.argv[2])
running: set[object] = set()


@asynccontextmanager
async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[None]:
    if MODE == "slow_start":
        await MARKER.write_text("starting")
        await anyio.sleep_forever()
    yield


server = MCPServer("stdio-test", version="1.0", lifespan=lifespan)


@server.tool()
async def look(text: str = "") -> str:
    return text or "seen"


@server.tool()
async def large_look(size: int) -> str:
    return "x" * size


@server.tool()
async def slow_look() -> str:
    """Read until the call is cancelled."""
    me = object()
    running.add(me)
    try:
        await anyio.sleep_forever()
    finally:
        running.discard(me)
    raise AssertionError


@server.tool()
async def running_look() -> str:
    """Return how many calls of `slow_look` are running."""
    return str(len(running))


@server.tool()
async def noisy_change() -> str:
    print("stray print")
    os.write(1, b"stray write\n")
    child = await anyio.run_process(["/bin/sh", "-c", "echo stray child; cat"], stdout=None, stdin=None)
    return f"child ended with {child.returncode}"


@server.tool()
async def unwritable_look() -> str:
    return "half \ud800"


@server.tool()
async def slow_change(ctx: Context, seconds: float) -> str:
    """Report that the call has begun, and leave the marker file when it has ended."""
    await ctx.report_progress(0)
    await anyio.sleep(seconds)
    await MARKER.write_text("done")
    return "changed"


async def fail(context: object, params: RequestParams) -> None:
    raise RuntimeError("a secret")


# The SDK words the failures of tools, prompts, resources and completions itself.
lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # it registers no other methods
lowlevel.add_request_handler("test/fail", RequestParams, fail)


class Answer(BaseModel):
    sure: bool


def ask() -> Elicit[Answer]:
    return Elicit("Sure?", Answer)


@server.tool()
async def confirmed_change(answer: Annotated[ElicitationResult[Answer], Resolve(ask)]) -> str:
    is_sure = isinstance(answer, AcceptedElicitation) and answer.data.sure
    return "confirmed" if is_sure else "declined"


async def serve() -> None:
    if MODE == "sdk":
        await server.run_stdio_async()
    else:
        await serve_stdio(server, lambda tool: tool.endswith("_change"))


def main() -> None:
    match MODE:
        case "trio":
            anyio.run(serve, backend="trio")
        case "thread":
            thread = threading.Thread(target=lambda: asyncio.run(serve_stdio(server)))
            thread.start()
            thread.join()
        case _:
            anyio.run(serve)


if __name__ == "__main__":
    main()
