"""A proxy before a PostgreSQL that breaks connections off at COMMIT, before it is sent or before it is answered."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import anyio
from anyio.abc import ByteStream, SocketAttribute

Fault = Literal["", "unsent", "unanswered", "silent"]
_COMMIT = b"COMMIT\0"
_ENDED = (anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass
class Proxy:
    """`at_commit`: what becomes of the next COMMIT. `is_closed`: whether connections end as soon as they are made."""

    port: int = 0
    at_commit: Fault = ""
    is_closed: bool = False
    closes_after: bool = False
    """Whether a fault leaves the proxy closed."""
    gate: anyio.Event | None = None
    """What connections wait for before they go on to the server."""
    passed: int = 0
    commits: int = 0
    replaced: tuple[bytes, bytes] = (b"", b"")
    """In each answer: what the server says, and what is passed on instead."""


@dataclass
class _Passage:
    """One connection through it."""

    proxy: Proxy
    client: ByteStream
    server: ByteStream
    is_muted: bool = False

    async def run(self) -> None:
        """Pass bytes on until one side closes, or a fault ends the connection."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer, tasks.cancel_scope)
            with suppress(*_ENDED):
                await self._call()
            tasks.cancel_scope.cancel()

    async def _answer(self, scope: anyio.CancelScope) -> None:
        with suppress(*_ENDED):
            async for chunk in self.server:
                if self.is_muted:
                    break
                await self.client.send(chunk.replace(*self.proxy.replaced) if self.proxy.replaced[0] else chunk)
        scope.cancel()

    async def _call(self) -> None:
        async for chunk in self.client:
            fault = self._fault(chunk)
            if fault == "unsent":
                return
            self.is_muted = fault == "unanswered"
            if fault != "silent":
                await self.server.send(chunk)

    def _fault(self, chunk: bytes) -> Fault:
        if _COMMIT not in chunk:
            return ""
        self.proxy.commits += 1
        fault, self.proxy.at_commit = self.proxy.at_commit, ""
        if fault and self.proxy.closes_after:
            self.proxy.is_closed = True
        return fault


@asynccontextmanager
async def before(port: int) -> AsyncGenerator[Proxy]:
    """Yield a proxy on a free port. Connections through it end with it."""
    proxy = Proxy()

    async def serve(client: ByteStream) -> None:
        async with client:
            if proxy.gate is not None:
                await proxy.gate.wait()
                proxy.passed += 1
            if not proxy.is_closed:
                async with await anyio.connect_tcp("127.0.0.1", port) as server:
                    await _Passage(proxy, client, server).run()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    proxy.port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield proxy
        tasks.cancel_scope.cancel()
