"""A proxy before an HTTP server that spoils its answers, and ports where nobody answers at all."""

import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx2

from .toxic_server import Answer, Connection, Received, ToxicServer, listening, whole

Phase = Literal["outage", "before", "after"]
"""What is spoilt: every answer, and no change is run; those to changes alone, which are not run, or which are."""
Spoil = Callable[[httpx2.Response], Answer]
"""What is sent instead of this answer."""


@dataclass
class Proxy(ToxicServer):
    """It does `spoil` to what `phase` says; without one, all passes as it is."""

    upstream: str = ""
    is_change: Callable[[Received], bool] = bool
    spoil: Spoil | None = None
    phase: Phase = "outage"
    http: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(trust_env=False, verify=False))

    async def _answer(self, connection: Connection) -> None:
        asked = self.received[-1]
        changes = self.is_change(asked)
        if self.spoil is None or (self.phase != "outage" and not changes):
            await _as_it_is(await self._passed_on(asked))(connection)
        elif changes and self.phase != "after":
            await self.spoil(httpx2.Response(200, content=b'{"success": true}'))(connection)
        else:
            await self.spoil(await self._passed_on(asked))(connection)

    async def _passed_on(self, asked: Received) -> httpx2.Response:
        url = httpx2.URL(self.upstream).copy_with(raw_path=asked.target.encode())
        return await self.http.request(asked.method, url, headers=asked.headers, content=asked.body)


def _as_it_is(response: httpx2.Response) -> Answer:
    return whole(response.status_code, response.content)


@asynccontextmanager
async def before(upstream: str, is_change: Callable[[Received], bool], port: int = 0) -> AsyncGenerator[Proxy]:
    """Yield a proxy on this port, or on a free one."""
    proxy = Proxy(upstream=upstream, is_change=is_change)
    async with proxy.http, listening(proxy, port):
        yield proxy


@contextmanager
def refusing() -> Generator[int]:
    """Yield a port at which nothing listens."""
    with _bound() as taken:
        yield taken.getsockname()[1]


@contextmanager
def hanging() -> Generator[int]:
    """Yield a port at which connecting hangs: its queue is full, so the system drops new connections."""
    with ExitStack() as stack, _bound() as taken:
        taken.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(taken.getsockname())
        yield taken.getsockname()[1]


@contextmanager
def _bound() -> Generator[socket.socket]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        yield taken
