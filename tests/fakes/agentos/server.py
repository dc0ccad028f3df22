"""As much HTTP as AgentOS's clients and its faults need: keep-alive, lengths, and connections that end badly."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, unquote

from .parameters import Request

_CLOSES_AFTER = 0.01
"""Seconds until a connection is gone that the server closes after an answer; a request before that is lost."""


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sent: Literal["whole", "half", "none"] = "whole"
    closes: bool = False
    """Without having said so."""

    @property
    def head(self) -> bytes:
        headers = {"server": "uvicorn", "content-type": "application/json", **self.headers}
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
        """Whether the connection serves on."""
        request = await _read(reader)
        response = await self._respond(request)
        if response.sent != "none":
            body = response.body[: len(response.body) // 2] if response.sent == "half" else response.body
            writer.write(response.head + body)
            await writer.drain()
        if response.closes and response.sent == "whole":
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), _CLOSES_AFTER)
        keeps = response.sent == "whole" and not response.closes
        return keeps and request.headers.get("connection", "").lower() != "close"


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, unquote(path), parse_qs(query, keep_blank_values=True), headers, body)
