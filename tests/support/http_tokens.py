"""A file of tokens, and what requests that bear them are answered."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
import httpx2

from mcp_sessions.caller import Scope
from mcp_sessions.transports.auth.tokens import new_token
from tests.support.fork_server import forked
from tests.support.http_server import COMMAND, DEADLINE, Server, environment, running

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def add(path: Path, subject: str, *scopes: Scope, expires: datetime | None = None) -> str:
    """Return a new token, of all scopes unless some are given, and add its line to the file."""
    token, line = new_token(subject, scopes or tuple(Scope), expires)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    return token


async def answer(url: str, *authorization: str) -> httpx2.Response:
    """Return the response to a request with these `Authorization` headers."""
    named = [*ACCEPT.items(), *(("Authorization", value) for value in authorization)]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in named]
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        return await http.post(url, json=LIST, headers=headers)


async def status(url: str, *authorization: str) -> int:
    return (await answer(url, *authorization)).status_code


@asynccontextmanager
async def logged(folder: Path, *arguments: str) -> AsyncGenerator[tuple[str, Path]]:
    """Yield the URL of a server that logs as much as possible, and the file of its stderr."""
    log = folder / "log"
    with log.open("wb") as errors, socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
        free.close()
        given = ["--port", port, "--log-level", "DEBUG", *arguments]
        process = await anyio.open_process([*forked(*COMMAND[1:]), *given], env=environment(folder), stderr=errors)
    try:
        with anyio.fail_after(DEADLINE):
            while "serving at" not in await anyio.Path(log).read_text("utf-8"):  # noqa: ASYNC110 - it is a process
                await anyio.sleep(0.05)
            yield f"http://127.0.0.1:{port}/mcp", log
    finally:
        process.terminate()
        await process.aclose()


@asynccontextmanager
async def guarded(folder: Path, *arguments: str, **tokens: str) -> AsyncGenerator[tuple[Server, dict[str, str]]]:
    """Yield a server on a store in a file, and a token for each name. `ada="sessions:read"` limits ada's scopes."""
    path = folder / "tokens"
    path.touch()
    made = {name: add(path, name, *map(Scope, scopes.split())) for name, scopes in tokens.items()}
    given = ["--port", "0", "--tokens", str(path), "--audit", str(folder / "audit"), "--toolsets", "all"]
    async with running(folder, *given, *arguments, deadline=300) as server:
        yield server, made
