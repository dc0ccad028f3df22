"""An HTTP server on a real socket that answers as badly as a test tells it to."""

import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


@dataclass
class Received:
    """A request as it arrived; `target` is the raw path and query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection, in the hands of an `Answer`."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self.gone = False

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def until_closed(self) -> None:
        """Wait until the client has closed its side."""
        while True:
            try:
                await self.stream.receive()
            except GONE:
                return

    async def close(self) -> None:
        self.gone = True
        await self.stream.aclose()

    async def reset(self) -> None:
        """End the connection with a RST instead of a FIN."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.close()

    async def half_close(self) -> None:
        self.stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)
        await self.until_closed()


Answer = Callable[[Connection], Awaitable[None]]


def whole(status: int = 200, body: bytes = b'{"ok":true}', *headers: str) -> Answer:
    """Return an ordinary answer, after which the connection stays open."""

    async def answer(connection: Connection) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        await connection.send("\r\n".join(lines).encode() + body)

    return answer


def raw(data: bytes, end: Answer = Connection.close) -> Answer:
    """Return an answer of these bytes, after which the connection ends in this way."""

    async def answer(connection: Connection) -> None:
        await connection.send(data)
        await end(connection)

    return answer


def endless(start: bytes, piece: bytes, pause: float = 0) -> Answer:
    """Return an answer that sends pieces, `pause` seconds apart, until the client closes the connection."""

    async def answer(connection: Connection) -> None:
        await connection.send(start)
        while True:
            await connection.send(piece)
            await anyio.sleep(pause)

    return answer


@dataclass
class ToxicServer:
    """`script` holds the answers to the next requests; `default` follows when it is used up.

    `greeting` is sent to whoever connects, before a request is read.
    """

    url: str = ""
    script: list[Answer] = field(default_factory=list[Answer])
    default: Answer = field(default_factory=whole)
    greeting: bytes = b""
    received: list[Received] = field(default_factory=list[Received])
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        connection, incoming = Connection(stream), BufferedByteReceiveStream(stream)
        async with stream:
            try:
                await stream.send(self.greeting)
                while not connection.gone:
                    self.received.append(await receive(incoming))
                    await self._answer(connection)
            except GONE:
                return

    async def _answer(self, connection: Connection) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.script.pop(0) if self.script else self.default
            await answer(connection)
        finally:
            self.at_once -= 1


async def receive(incoming: BufferedByteReceiveStream) -> Received:
    head = (await incoming.receive_until(b"\r\n\r\n", 70_000)).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await incoming.receive_exactly(length) if (length := int(headers.get("content-length", 0))) else b""
    return Received(method, target, headers, body)


@asynccontextmanager
async def toxic_server(*script: Answer) -> AsyncGenerator[ToxicServer]:
    """Yield a server on a free port of this machine, which ends with the block."""
    server = ToxicServer(script=list(script))
    async with listening(server):
        yield server


@asynccontextmanager
async def listening(server: ToxicServer, port: int = 0) -> AsyncGenerator[None]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, backlog=512)
    server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield
        tasks.cancel_scope.cancel()
