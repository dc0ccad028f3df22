"""Serves clients over Streamable HTTP: `/mcp`, `/healthz` and `/readyz`."""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from errno import EADDRNOTAVAIL
from ipaddress import ip_address
from math import ceil
from types import FrameType
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError
from sse_starlette.sse import AppStatus
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...config.settings import BadSetting
from ..auth.access import Access
from .app import PATH, Check, http_app
from .connections import PromptConnection

DRAIN_SECONDS = 5
# Longer than clients and load balancers keep a connection: whoever closes first never cuts off a request.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 128  # and no more, since that many are taken at once also when there is no room for them
_STOPPED = "The server was stopped before this call ended. If it was to change something, look before repeating it."

logger = logging.getLogger(__name__)


def listen(host: str, port: int, access: Access) -> socket.socket:
    """A socket that takes connections, on a free port where `port` is 0.

    Raises `BadSetting` for a port that can't be had, and as `address_of` does.
    """
    address = address_of(host, access)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        both = address == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        # Connections inherit it; without it each answer waits some 40 ms for the client to acknowledge its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = (error.strerror or "it can't be used").lower().partition(" (")[0]
        if error.errno == EADDRNOTAVAIL:
            raise BadSetting(f"--host can't be {host!r}: this machine has no such address.") from None
        raise BadSetting(f"--port can't be {port} on {host}: {reason}. It accepts a free one, or 0 for any.") from None


def address_of(host: str, access: Access) -> str:
    """What a host stands for.

    Raises `BadSetting` where that is nothing, and for an address that others can reach, unless they must say who they
    are, and by which name they call is known (the one keeps strangers out, the other rebound DNS names).
    """
    try:
        address = _looked_up(host)
    except (OSError, UnicodeError):
        raise BadSetting(
            f"--host can't be {host[:80]!r}: it stands for no address. It accepts one, or a name."
        ) from None
    if not ip_address(address).is_loopback:
        _require_authentication(host, access)
    return address


def _looked_up(host: str) -> str:
    if not host:
        raise OSError  # it would stand for every address
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]).partition("%")[0]


def _require_authentication(host: str, access: Access) -> None:
    missing = [] if access.authentication else ["authentication (--tokens or --jwt-issuer)"]
    missing += [] if access.allowed_hosts else ["the name in the URL that they call (--allowed-host)"]
    if missing:
        raise BadSetting(
            f"--host can't be {host[:80]!r}: others could reach it, and that needs {' and '.join(missing)}. "
            "Without, it accepts 127.0.0.1, ::1 or localhost."
        )


def url_of(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}{PATH}" if ":" in address else f"http://{address}:{port}{PATH}"


async def serve_http(
    server: MCPServer[Any],
    listener: socket.socket,
    check: Check,
    announce: Callable[[str], None],
    access: Access,
    drain_seconds: float = DRAIN_SECONDS,
) -> int:
    """Serve until SIGTERM or SIGINT, and end once the calls that run then have, at the latest after `drain_seconds`.

    `announce` is told the URL once it can be called there. The number of the signal that ended it.
    """
    url = url_of(listener)
    app = Endable(http_app(server, listener.getsockname()[0], check, access, url))
    runner = _Runner(app, drain_seconds)
    with runner.handling_signals():
        async with server.session_manager.run():
            announce(url)
            await runner.serve(sockets=[listener])
    return runner.ended_by


class Endable:
    """An ASGI application whose running calls can be ended; who waits for one is told."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[anyio.CancelScope] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        with anyio.CancelScope() as call:
            self._running.add(call)
            try:
                await self._app(scope, receive, watched)
            finally:
                self._running.discard(call)
        if call.cancelled_caught and not has_begun:
            said = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=_STOPPED))
            await JSONResponse(said.model_dump(by_alias=True, exclude_unset=True), 503)(scope, receive, send)

    def end(self) -> None:
        """End what is running."""
        logger.warning("%d calls were ended, which took longer than the server had left", len(self._running))
        for call in self._running:
            call.cancel()


class _Runner(uvicorn.Server):
    """uvicorn's, which leaves the lifespan to us and ends with a status rather than by the signal."""

    def __init__(self, app: Endable, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            backlog=_BACKLOG,
            http=PromptConnection,  # h11's, never one that happens to be installed: what it refuses is relied on
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=ceil(drain_seconds) + 1,
        )
        super().__init__(config)
        # It would break off every stream as soon as the server is told to stop; `_end_late_calls` does so in time.
        AppStatus.disable_automatic_graceful_drain()
        self._app = app
        self._drain_seconds = drain_seconds
        self.ended_by = 0

    @contextmanager
    def handling_signals(self) -> Generator[None]:
        # Only the main thread may handle signals.
        is_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
        former = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ended_by = self.ended_by or sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_late_calls)
            await super().shutdown(sockets)
            tasks.cancel_scope.cancel()

    async def _end_late_calls(self) -> None:
        await anyio.sleep(self._drain_seconds)
        self._app.end()
