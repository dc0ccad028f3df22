"""The ASGI application: the MCP endpoint with its checks, and the health and readiness probes."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import Busy, SessionsError, Timeout
from ..auth.access import AccessRules
from ..auth.bearer import METADATA_PATH
from .endpoint import Endpoint
from .limits import ConcurrencyLimit, limit_body
from .plain_answers import PlainAnswers

PATH = "/mcp"
_READY_SECONDS = 1
_ANSWER_SECONDS = 3  # shorter than the usual timeout of a probe
_CHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""The SDK's settings after `HostCheck`, which has checked the host and the origin already."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_PORT = re.compile(r"^(\[[0-9a-f:.]+\]|[^:]*)(:\d+)?$")

ReadinessCheck = Callable[[], Awaitable[None]]
logger = logging.getLogger(__name__)


def host_security(hosts: Iterable[str]) -> TransportSecuritySettings:
    """Return settings that allow only requests for these hosts, and from their pages, against DNS rebinding.

    A host without a port is allowed at any port.
    """
    known = sorted(
        {form for host in hosts for form in ((host,) if urlsplit(f"//{host}").port else (host, f"{host}:*"))}
    )
    origins = [f"{scheme}://{host}" for host in known for scheme in ("http", "https")]
    return TransportSecuritySettings(allowed_hosts=known, allowed_origins=origins)


def loopback_names(address: str) -> list[str]:
    """Return the hosts under which this machine may call a server at a loopback address."""
    return [f"[{address}]" if ":" in address else address, *_LOOPBACK]


def http_app(server: MCPServer[Any], address: str, check: ReadinessCheck, access: AccessRules, url: str = "") -> Router:
    """Return the application for a listener at `address`.

    Enter `server.session_manager.run()` around it instead of its lifespan. `check` raises a `SessionsError` if the
    backend can't be reached. `url`: where clients call the server, if no host is allowed.
    """
    is_local = ip_address(address).is_loopback
    call_hosts = host_security([*access.allowed_hosts, *(loopback_names(address) if is_local else [])])
    # A container probes itself at localhost.
    probe_hosts = host_security([*access.allowed_hosts, *loopback_names(address)])
    readiness = _Readiness(check)
    url = f"https://{access.allowed_hosts[0]}{PATH}" if access.allowed_hosts else url

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metadata(request: Request) -> Response:
        assert access.authentication is not None
        return access.authentication.metadata(url)

    app = Endpoint(_mcp_app(server, access.max_body), PlainAnswers(server.session_manager, _CHECKED))
    app = ConcurrencyLimit(limit_body(app, access.max_body), access.max_concurrent)
    routes = [
        Route("/healthz", HostCheck(_endpoint(health), probe_hosts)),
        Route("/readyz", HostCheck(_endpoint(readiness.answer), probe_hosts)),
    ]
    if access.authentication is not None:
        metadata_path = METADATA_PATH + urlsplit(access.authentication.resource or url).path.rstrip("/")
        has_issuer = bool(access.authentication.issuer)
        origin = urljoin(access.authentication.resource or url, "/").rstrip("/")
        app = access.authentication.wrap(app, origin + metadata_path if has_issuer else "")
        routes += [Route(metadata_path, HostCheck(_endpoint(metadata), call_hosts))] if has_issuer else []
    app = HostCheck(app, call_hosts)
    # Two routes, since Starlette's redirect from /mcp/ would lead to http:// even behind a proxy with https://.
    return Router([*routes, Route(PATH, app), Route(f"{PATH}/", app)], redirect_slashes=False)


def _mcp_app(server: MCPServer[Any], max_body: int) -> ASGIApp:
    # Called only to create the session manager: the application's own router would serve one path only.
    # `json_response` is off, since a client that disconnects cancels its call only if the response is a stream, and
    # since progress is sent only in a stream. `PlainAnswers` answers most calls with JSON.
    server.streamable_http_app(
        stateless_http=True,
        json_response=False,
        max_request_body_size=max_body,
        transport_security=_CHECKED,
    )
    return server.session_manager.handle_request


def _endpoint(handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await handler(Request(scope, receive)))(scope, receive, send)

    return app


class HostCheck:
    """An application that refuses requests for an unknown host or from an unknown web page."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._guard = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # In lower case, since the SDK compares hosts case-sensitively.
        headers = [(name, value.lower() if name in (b"host", b"origin") else value) for name, value in scope["headers"]]
        scope = {**scope, "headers": headers}
        request = Request(scope, receive)
        refusal = await self._guard.validate_request(request)
        if refusal is None and not all(map(_PORT.search, request.headers.getlist("host"))):
            refusal = Response("Invalid Host header", 421)
        await (refusal or self._app)(scope, receive, send)


class _Readiness:
    """The readiness probe. It checks the backend at most once a second, however often it is called."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check
        self._lock = anyio.Lock()
        self._checked_at = -_READY_SECONDS
        self._reason: str = ""

    async def answer(self, request: Request) -> Response:
        async with self._lock:
            if anyio.current_time() >= self._checked_at + _READY_SECONDS:
                reason = await self._check_backend()
                if reason != self._reason:
                    logger.warning(
                        "not ready: the check of the backend failed (%s)" if reason else "ready again%s", reason
                    )
                self._reason, self._checked_at = reason, anyio.current_time()
        if self._reason:
            return JSONResponse({"status": "not ready", "reason": self._reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _check_backend(self) -> str:
        """Return the code of the error that the check raises, "" if the backend is ready."""
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                await self._check()
        except Busy:
            pass  # the backend is reachable, but busy with other calls
        except TimeoutError:
            return Timeout.code
        except SessionsError as error:
            return error.code
        return ""
