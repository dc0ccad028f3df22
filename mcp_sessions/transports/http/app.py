"""The application that is served over HTTP: the SDK's behind its guards, and the probes."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import Busy, SessionsError, Timeout
from ..auth.access import Access
from ..auth.bearer import METADATA_PATH
from .endpoint import Endpoint
from .limits import AtOnce, whole

PATH = "/mcp"
_READY_SECONDS = 1
_ANSWER_SECONDS = 3  # less than those who ask wait for an answer
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_PORT = re.compile(r"^(\[[0-9a-f:.]+\]|[^:]*)(:\d+)?$")

Check = Callable[[], Awaitable[None]]
logger = logging.getLogger(__name__)


def named(hosts: Iterable[str]) -> TransportSecuritySettings:
    """Requests for these hosts (at any port for those without one), and from their pages: no rebound DNS name."""
    known = sorted(
        {form for host in hosts for form in ((host,) if urlsplit(f"//{host}").port else (host, f"{host}:*"))}
    )
    origins = [f"{scheme}://{host}" for host in known for scheme in ("http", "https")]
    return TransportSecuritySettings(allowed_hosts=known, allowed_origins=origins)


def own_names(address: str) -> list[str]:
    """How this machine itself may call a loopback address."""
    return [f"[{address}]" if ":" in address else address, *_LOOPBACK]


def http_app(server: MCPServer[Any], address: str, check: Check, access: Access, url: str = "") -> Starlette:
    """The SDK's application behind its guards, and the two probes, for a listener at `address`.

    Enter `server.session_manager.run()` around it, not its lifespan. `check` raises a `SessionsError` while the
    backend can't be reached. `url` is where it is called, unless a name is allowed.
    """
    is_local = ip_address(address).is_loopback
    calls = named([*access.allowed_hosts, *(own_names(address) if is_local else [])])
    probes = named([*access.allowed_hosts, *own_names(address)])  # a container asks itself by localhost
    readiness = _Readiness(check)
    url = f"https://{access.allowed_hosts[0]}{PATH}" if access.allowed_hosts else url

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metadata(request: Request) -> Response:
        assert access.authentication is not None
        return access.authentication.metadata(url)

    app = Endpoint(_mcp_app(server, calls, access.max_body))
    app = AtOnce(whole(app, access.max_body), access.max_concurrent)
    routes = [
        Route("/healthz", _Guarded(_endpoint(health), probes)),
        Route("/readyz", _Guarded(_endpoint(readiness.answer), probes)),
    ]
    if access.authentication is not None:
        metadata_path = METADATA_PATH + urlsplit(access.authentication.resource or url).path.rstrip("/")
        has_issuer = bool(access.authentication.issuer)
        origin = urljoin(access.authentication.resource or url, "/").rstrip("/")
        app = access.authentication.around(app, origin + metadata_path if has_issuer else "")
        routes += [Route(metadata_path, _Guarded(_endpoint(metadata), calls))] if has_issuer else []
    app = _Guarded(app, calls)
    # Two routes, since Starlette's redirect from /mcp/ would name http:// also behind a proxy that speaks https://.
    served = Starlette(routes=[*routes, Route(PATH, app), Route(f"{PATH}/", app)])
    served.router.redirect_slashes = False
    return served


def _mcp_app(server: MCPServer[Any], security: TransportSecuritySettings, max_body: int) -> ASGIApp:
    # A client that goes away ends its call only where responses are streams, so `json_response` is off.
    server.streamable_http_app(
        stateless_http=True,
        json_response=False,
        max_request_body_size=max_body,
        transport_security=security,
    )
    return server.session_manager.handle_request  # not the application, whose router knows one path only


def _endpoint(handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await handler(Request(scope, receive)))(scope, receive, send)

    return app


class _Guarded:
    """An application whose requests must be for a known host and from a known page, before anything else."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._guard = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Names of hosts have no case, and the SDK compares what it is given.
        headers = [(name, value.lower() if name in (b"host", b"origin") else value) for name, value in scope["headers"]]
        scope = {**scope, "headers": headers}
        request = Request(scope, receive)
        refusal = await self._guard.validate_request(request)
        if refusal is None and not all(map(_PORT.search, request.headers.getlist("host"))):
            refusal = Response("Invalid Host header", 421)
        await (refusal or self._app)(scope, receive, send)


class _Readiness:
    """Whether the backend answers, asked at most every second, however many ask here."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._asking = anyio.Lock()
        self._asked_at = -_READY_SECONDS
        self._reason: str = ""

    async def answer(self, request: Request) -> Response:
        async with self._asking:
            if anyio.current_time() >= self._asked_at + _READY_SECONDS:
                reason = await self._reason_against()
                if reason != self._reason:
                    logger.warning("not ready: the backend is %s" if reason else "ready again%s", reason)
                self._reason, self._asked_at = reason, anyio.current_time()
        if self._reason:
            return JSONResponse({"status": "not ready", "reason": self._reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _reason_against(self) -> str:
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                await self._check()
        except Busy:
            pass  # with calls that the backend answers
        except TimeoutError:
            return Timeout.code
        except SessionsError as error:
            return error.code
        return ""
