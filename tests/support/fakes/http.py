"""A small HTTP server for the fakes: keep-alive, content lengths, and connections that are closed in faulty ways."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, unquote

from mcp_sessions.json_documents import Json

_CLOSES_AFTER = 0.01
"""Seconds until a connection is closed that the server closes after a response. A request before that is lost."""


@dataclass(frozen=True)
class Request:
    """A request as it arrived; `path` is decoded, `query` has every value of each name, `head` is all before the body.

    The names of `headers` are in lower case.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict[str, list[str]])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    head: str = ""

    @property
    def json(self) -> Json:
        """The body, for tests that check requests."""
        return json.loads(self.body) if self.body else None

    @property
    def target(self) -> str:
        """The path and the query as they were sent."""
        return self.head.split(" ", 2)[1]


@dataclass(frozen=True)
class Response:
    """`sent` is how much of the response is sent before the connection is closed; "raw" sends the body alone."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sent: Literal["whole", "half", "none", "raw"] = "whole"
    closes: bool = False
    """Whether the server closes the connection without announcing it."""
    pause: asyncio.Event | None = None
    """The second half of the body is sent after this event."""

    @property
    def head(self) -> bytes:
        headers = {"content-type": "application/json", **self.headers}
        if self.status != HTTPStatus.NO_CONTENT:
            headers["content-length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


class Server:
    """Serves on a port of its own until it is stopped, each connection in a task."""

    def __init__(self, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[object]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection stays open."""
        request = await _read(reader)
        response = await self._respond(request)
        await _send(writer, response)
        if response.closes and response.sent == "whole":
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), _CLOSES_AFTER)
        keeps = response.sent == "whole" and not response.closes
        return keeps and request.headers.get("connection", "").lower() != "close"


async def _send(writer: asyncio.StreamWriter, response: Response) -> None:
    if response.sent == "none":
        return
    head = b"" if response.sent == "raw" else response.head
    middle = len(response.body) // 2 if response.sent == "half" or response.pause else len(response.body)
    writer.write(head + response.body[:middle])
    await writer.drain()
    if response.pause is not None:
        await response.pause.wait()
        writer.write(response.body[middle:])
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, unquote(path), parse_qs(query, keep_blank_values=True), headers, body, head)
