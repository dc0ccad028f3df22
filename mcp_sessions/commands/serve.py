"""`mcp-sessions serve`: the configured backend over stdio, or over HTTP."""

import signal
import sys

import anyio

from mcp_sessions.backends import open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.commands import refuse
from mcp_sessions.errors import SessionsError
from mcp_sessions.server import SessionsServer, create_server
from mcp_sessions.settings import BadSetting, Settings

_ON_A_TERMINAL = """\
mcp-sessions serves agent sessions over MCP. It waits here for an MCP client's messages on stdin, so start it from
a client's configuration rather than by hand. `mcp-sessions demo` shows what it does; Ctrl-D ends it.
"""


def run(settings: Settings) -> int:
    try:
        backend = open_backend(
            settings.backend,
            timeout=settings.timeout,
            token=settings.token,
            keep_deleted=settings.keep_deleted,
            recheck=settings.recheck,
            trust_env=settings.trust_env,
            allow_http=settings.allow_http,
        )
    except SessionsError as error:
        return refuse(f"--backend: {error}")
    server = create_server(
        backend,
        user=settings.user,
        session=settings.session,
        read_only=settings.read_only,
        toolsets=settings.toolsets,
        confirm=settings.confirm,
        max_chars=settings.max_chars,
        redact=settings.redact,
    )
    status = 0
    try:
        status = _over_http(server, backend, settings) if settings.transport == "http" else _over_stdio(server)
    except* BadSetting as errors:
        status = refuse(str(_first(errors)))
    except* SessionsError as errors:
        status = refuse(f"--backend: {_first(errors)}")
    except* KeyboardInterrupt:
        status = 130
    return status


def _over_stdio(server: SessionsServer) -> int:
    from mcp_sessions.transports.stdio import serve_stdio

    if sys.stdin.isatty():
        print(_ON_A_TERMINAL, file=sys.stderr)
    anyio.run(serve_stdio, server, server.is_change)
    return 0


def _over_http(server: SessionsServer, backend: SessionBackend, settings: Settings) -> int:
    from mcp_sessions.transports.http import listen, serve_http

    with listen(settings.host, settings.port) as listener:
        ended_by = anyio.run(serve_http, server, listener, backend.check_reachable, _announce)
    return 130 if ended_by == signal.SIGINT else 0


def _announce(url: str) -> None:
    print(f"mcp-sessions: serving at {url}", file=sys.stderr, flush=True)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """The first of them, however deep in groups of groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
