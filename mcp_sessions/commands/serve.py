"""`mcp-sessions serve`: the configured backend over stdio."""

import sys

import anyio

from mcp_sessions.backends import open_backend
from mcp_sessions.errors import SessionsError
from mcp_sessions.server import create_server
from mcp_sessions.settings import Settings
from mcp_sessions.transports.stdio import serve_stdio

_ON_A_TERMINAL = """\
mcp-sessions serves agent sessions over MCP. It waits here for an MCP client's messages on stdin, so start it from
a client's configuration rather than by hand. `mcp-sessions demo` shows what it does; Ctrl-D ends it.
"""


def run(settings: Settings) -> int:
    try:
        backend = open_backend(
            settings.backend, timeout=settings.timeout, token=settings.token, keep_deleted=settings.keep_deleted
        )
    except SessionsError as error:
        return _refuse(error)
    if sys.stdin.isatty():
        print(_ON_A_TERMINAL, file=sys.stderr)
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
        anyio.run(serve_stdio, server, server.is_change)
    except* SessionsError as errors:
        status = _refuse(errors.exceptions[0])
    except* KeyboardInterrupt:
        status = 130
    return status


def _refuse(error: BaseException) -> int:
    print(f"mcp-sessions: --backend: {error}", file=sys.stderr)
    return 2
