"""Serves clients over Streamable HTTP on this machine: `/mcp`, `/healthz` and `/readyz`."""

import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from ipaddress import ip_address
from math import ceil
from types import FrameType
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import SessionsError
from ..settings import BadSetting

PATH = "/mcp"
DRAIN_SECONDS = 5
# Longer than clients and load balancers keep a connection: whoever closes first never cuts off a request.
_KEEP_ALIVE_SECONDS = 75
_STOPPED = "The server was stopped before this call ended. If it was to change something, look before repeating it."

Check = Callable[[], Awaitable[None]]
logger = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from this machine, on a free port where `port` is 0.

    Raises `BadSetting` for an address that others can reach, and for a port that can't be had.
    """
    address = _loopback_address(host)
    if not address:
        raise BadSetting(
            f"--host can't be {host[:80]!r}: others could reach it, and serving others needs authentication, which is "
            "not there yet. It accepts 127.0.0.1, ::1 or localhost."
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or "it can't be used").lower()
        raise BadSetting(f"--port can't be {port} on {host}: {reason}. It accepts a free one, or 0 for any.") from None


def _loopback_address(host: str) -> str:
    """ "" for an address that others can reach, and for every name but localhost: what it stands for may change."""
    if host.lower() == "localhost":
        host = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    try:
        return host if ip_address(host).is_loopback else ""
    except ValueError:
        return ""


def url_of(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}{PATH}" if ":" in address else f"http://{address}:{port}{PATH}"


def loopback_only(address: str) -> TransportSecuritySettings:
    """Requests for this machine by one of its own names, and from pages that it served: no rebound DNS name."""
    own = f"[{address}]" if ":" in address else address
    names = sorted({own, "127.0.0.1", "localhost", "[::1]"})
    hosts = [f"{name}{port}" for name in names for port in ("", ":*")]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts])


def http_app(server: MCPServer[Any], security: TransportSecuritySettings, check: Check) -> Starlette:
    """The SDK's application and the two probes. Enter `server.session_manager.run()` around it, not its lifespan.

    `check` raises a `SessionsError` while the backend can't be reached.
    """
    # A client that goes away ends its call only where responses are streams, so `json_response` is off.
    app = server.streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=False, transport_security=security
    )
    guard = TransportSecurityMiddleware(security)

    async def health(request: Request) -> Response:
        return await guard.validate_request(request) or JSONResponse({"status": "ok"})

    async def readiness(request: Request) -> Response:
        refusal = await guard.validate_request(request)
        return refusal or await _readiness(check)

    async def stream(request: Request) -> Response:
        # The stream that older clients ask for beside their calls: nothing is ever sent there, and it has no end.
        return await guard.validate_request(request) or Response(status_code=405, headers={"Allow": "POST"})

    app.router.routes.insert(0, Route(PATH, stream, methods=["GET", "DELETE"]))
    app.router.routes += [Route("/healthz", health), Route("/readyz", readiness)]
    return app


async def _readiness(check: Check) -> Response:
    try:
        await check()
    except SessionsError as error:
        return JSONResponse({"status": "not ready", "reason": error.code}, status_code=503)
    return JSONResponse({"status": "ready"})


async def serve_http(
    server: MCPServer[Any],
    listener: socket.socket,
    check: Check,
    announce: Callable[[str], None],
    drain_seconds: float = DRAIN_SECONDS,
) -> int:
    """Serve until SIGTERM or SIGINT, and end once the calls that run then have, at the latest after `drain_seconds`.

    `announce` is told the URL once it can be called there. The number of the signal that ended it.
    """
    url = url_of(listener)
    app = Endable(http_app(server, loopback_only(listener.getsockname()[0]), check))
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
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=ceil(drain_seconds) + 1,
        )
        super().__init__(config)
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
