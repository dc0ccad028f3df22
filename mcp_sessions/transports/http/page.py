"""Serves `mcp-sessions browse`: the page, and the MCP endpoint that it calls, to one browser on this machine."""

import re
import socket
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...pages import sessions_page
from ...server.sessions_server import SessionsServer
from ..auth.access import AccessRules
from .app import PATH, HostCheck, ReadinessCheck, host_security, http_app
from .server import serve_app

IDLE_SECONDS = 30 * 60


async def serve_page(
    server: SessionsServer,
    listener: socket.socket,
    check: ReadinessCheck,
    announce: Callable[[str], None],
    idle_seconds: float = IDLE_SECONDS,
) -> int:
    """Serve until a signal arrives, or no request has arrived for `idle_seconds`. Return the signal's number, or 0.

    `announce` is called with the page's URL, which opens the page once.
    """
    address, port = listener.getsockname()[:2]
    host = f"{address}:{port}"
    page = PageApp(
        http_app(server, address, check, AccessRules()), sessions_page(server.tool_names, "local_server"), idle_seconds
    )
    app = HostCheck(page, host_security([host]))
    url = f"http://{host}/#{page.link_token}"
    return await serve_app(server, app, listener, lambda: announce(url), until=page.wait_until_idle)


class PageApp:
    """An application with the page at `/`, and the MCP endpoint for the browser that has opened it.

    The page's link has a token that is accepted once. The page exchanges it for the token of its calls, so that the
    link is worthless afterwards in the browser's history and in the arguments of the command that opened the browser.
    """

    def __init__(self, endpoint: ASGIApp, html: str, idle_seconds: float) -> None:
        self.link_token = token_urlsafe(32)
        self._call_token = token_urlsafe(32)
        self._is_opened = False
        self._idle_seconds = idle_seconds
        self._idle = anyio.CancelScope()
        self._postpone_end()
        show = HTMLResponse(html, headers=_headers(html))

        async def show_page(request: Request) -> Response:
            return show

        calls = _TokenCheck(endpoint, self._call_token)
        routes = [Route("/", show_page), Route("/token", self._exchange, methods=["POST"]), Route(PATH, calls)]
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._postpone_end()
        await self._app(scope, receive, send)

    async def wait_until_idle(self) -> None:
        with self._idle:
            await anyio.sleep_forever()

    def _postpone_end(self) -> None:
        self._idle.deadline = anyio.current_time() + self._idle_seconds

    async def _exchange(self, request: Request) -> Response:
        """Answer with the token for calls, if the request has the link's token and is the first one that does."""
        if self._is_opened or not _has_token(request.headers, self.link_token):
            return Response(status_code=401)
        self._is_opened = True
        return JSONResponse({"token": self._call_token}, headers={"Cache-Control": "no-store"})


class _TokenCheck:
    """An application that refuses requests without the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if _has_token(Headers(scope=scope), self._token) else Response(status_code=401)
        await app(scope, receive, send)


def _has_token(headers: Headers, token: str) -> bool:
    return compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode())


def _headers(html: str) -> dict[str, str]:
    """Return the headers of the page. Its policy allows its own script and style, and calls of this server."""
    script, style = (_hash(html, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _hash(html: str, tag: str) -> str:
    """Return the source expression for the only element of a tag (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    found = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    assert found is not None
    return f"'sha256-{b64encode(sha256(found[1].encode()).digest()).decode()}'"
