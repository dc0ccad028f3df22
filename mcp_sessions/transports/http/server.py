"""Runs the HTTP server: the listening socket, signals and shutdown."""

import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from errno import EADDRNOTAVAIL
from functools import partial
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
from ..auth.access import AccessRules
from .app import PATH, ReadinessCheck, http_app
from .connections import CANCEL, HeaderTimeoutConnection

DRAIN_SECONDS = 5
# Longer than clients and load balancers keep a connection, so that the server doesn't close one as a request arrives.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 128  # not larger, since uvicorn accepts this many at once even without free file descriptors
_STOPPED = "The server was stopped before this call ended. Check whether a change was made before repeating it."

logger = logging.getLogger(__name__)


def listen(host: str, port: int, access: AccessRules) -> socket.socket:
    """Return a listening socket, on a free port if `port` is 0.

    Raise `BadSetting` for a port that can't be used, and as `address_of` does.
    """
    address = address_of(host, access)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        is_dual_stack = address == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual_stack)
        # Connections inherit it. Without it, a response waits some 40 ms for the client to acknowledge the headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = (error.strerror or "it can't be used").lower().partition(" (")[0]
        if error.errno == EADDRNOTAVAIL:
            raise BadSetting(f"--host can't be {host!r}: this machine has no such address.") from None
        raise BadSetting(f"--port can't be {port} on {host}: {reason}. It accepts a free one, or 0 for any.") from None


def address_of(host: str, access: AccessRules) -> str:
    """Return the IP address of a host.

    Raise `BadSetting` if it has none. An address that other machines can reach requires authentication, and
    allowed hosts as a protection against DNS rebinding.
    """
    try:
        address = _resolve(host)
    except (OSError, UnicodeError):
        raise BadSetting(
            f"--host can't be {host[:80]!r}: it has no address. It accepts an IP address or a name."
        ) from None
    if not ip_address(address).is_loopback:
        _require_authentication(host, access)
    return address


def _resolve(host: str) -> str:
    if not host:
        raise OSError  # "" would mean all addresses
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]).partition("%")[0]


def _require_authentication(host: str, access: AccessRules) -> None:
    missing = [] if access.authentication else ["authentication (--tokens or --jwt-issuer)"]
    missing += [] if access.allowed_hosts else ["the host in the URL that they call (--allowed-host)"]
    if missing:
        raise BadSetting(
            f"--host can't be {host[:80]!r}: others could reach it, which requires {' and '.join(missing)}. "
            "Without that, it accepts 127.0.0.1, ::1 or localhost."
        )


def url_of(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}{PATH}" if ":" in address else f"http://{address}:{port}{PATH}"


async def serve_http(
    server: MCPServer[Any],
    listener: socket.socket,
    check: ReadinessCheck,
    announce: Callable[[str], None],
    access: AccessRules,
    drain_seconds: float = DRAIN_SECONDS,
) -> int:
    """Serve until SIGTERM or SIGINT, then finish running calls, for at most `drain_seconds`.

    `announce` is called with the URL once the server is ready. Return the number of the signal.
    """
    url = url_of(listener)
    app = http_app(server, listener.getsockname()[0], check, access, url)
    return await serve_app(server, app, listener, partial(announce, url), drain_seconds=drain_seconds)


async def serve_app(
    server: MCPServer[Any],
    app: ASGIApp,
    listener: socket.socket,
    announce: Callable[[], None],
    *,
    drain_seconds: float = DRAIN_SECONDS,
    until: Callable[[], Awaitable[None]] = anyio.sleep_forever,
) -> int:
    """Serve an application around the server's endpoint as `serve_http` does, or until `until` returns."""
    runner = _Runner(StoppableApp(app), drain_seconds)

    async def stop() -> None:
        await until()
        runner.should_exit = True

    with runner.handling_signals():
        async with server.session_manager.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            announce()
            await runner.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return runner.signal


class StoppableApp:
    """An ASGI application whose running calls can be cancelled. Their clients get 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[anyio.CancelScope] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_and_record(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        with anyio.CancelScope() as call:
            self._running.add(call)
            scope[CANCEL] = call.cancel
            try:
                await self._app(scope, receive, send_and_record)
            finally:
                self._running.discard(call)
        if call.cancelled_caught and not has_started:
            error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=_STOPPED))
            await JSONResponse(error.model_dump(by_alias=True, exclude_unset=True), 503)(scope, receive, send)

    def cancel_calls(self) -> None:
        logger.warning("%d calls took too long while the server was stopping and were cancelled", len(self._running))
        for call in self._running:
            call.cancel()


class _Runner(uvicorn.Server):
    """A uvicorn server that doesn't run the lifespan, and returns after a signal instead of raising it again."""

    def __init__(self, app: StoppableApp, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            backlog=_BACKLOG,
            http=HeaderTimeoutConnection,  # based on h11 and not httptools, since we rely on h11's checks of requests
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=ceil(drain_seconds) + 1,
        )
        super().__init__(config)
        # Otherwise sse_starlette ends every stream when the server stops. `_cancel_late_calls` lets calls finish first.
        AppStatus.disable_automatic_graceful_drain()
        self._app = app
        self._drain_seconds = drain_seconds
        self.signal = 0

    @contextmanager
    def handling_signals(self) -> Generator[None]:
        # Only the main thread may handle signals.
        is_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
        previous_handlers = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signal = self.signal or sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_late_calls)
            await super().shutdown(sockets)
            tasks.cancel_scope.cancel()

    async def _cancel_late_calls(self) -> None:
        await anyio.sleep(self._drain_seconds)
        self._app.cancel_calls()
