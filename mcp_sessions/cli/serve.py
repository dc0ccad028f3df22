"""`mcp-sessions serve`: serve the configured backend over stdio or HTTP."""

import gc
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.cli.parser import CLIENTS
from mcp_sessions.cli.refusals import first_error, refuse, refuse_backend
from mcp_sessions.config.backend_addresses import shown_backends
from mcp_sessions.config.build import build_backend, build_server, http_warnings, refuse_http_settings
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import SessionsError
from mcp_sessions.server.audit_log import STDERR, AuditLog
from mcp_sessions.transports.stdio.early_answers import EarlyAnswers

_TERMINAL_HELP = """\
mcp-sessions lets agents find, read and change their sessions over MCP. It serves the sessions of
{backend}
It now waits for an MCP client's messages on stdin. Usually a client starts it:
`mcp-sessions config CLIENT` prints the configuration for {clients}.
`mcp-sessions demo` shows what the tools do, `mcp-sessions doctor` checks the settings. Ctrl-D ends the server.
"""


def run(settings: Settings, early: EarlyAnswers | None = None) -> int:
    """Serve until the client disconnects or a signal arrives. Return the exit status.

    `early` is the first part of a client's connection over stdio.
    """
    status = 0
    try:
        backend = build_backend(settings)
        if settings.transport == "http":
            status = _over_http(backend, settings)
        else:
            status = _over_stdio(backend, settings, early)
    except* BadSetting as errors:
        status = refuse(str(first_error(errors)))
    except* SessionsError as errors:
        status = refuse_backend(first_error(errors))
    except* KeyboardInterrupt:
        status = 130
    if status == 2 and early:
        early.cache.remove()  # so that the next start doesn't answer before it fails
    return status


@contextmanager
def _audit(settings: Settings, *, authenticated: bool = False) -> Generator[AuditLog | None]:
    path = settings.audit or (STDERR if authenticated else "")
    try:
        audit = AuditLog(path) if path else None
    except OSError as error:
        reason = (error.strerror or "it can't be written to").lower()
        raise BadSetting(f"--audit can't be {path[:80]!r}: {reason}. It accepts a file, or - for stderr.") from None
    with closing(audit) if audit else nullcontext():
        yield audit


def _over_stdio(backend: SessionBackend, settings: Settings, early: EarlyAnswers | None) -> int:
    from mcp_sessions.transports.stdio.server import serve_stdio

    refuse_http_settings(settings)
    with _audit(settings) as audit:
        server = build_server(backend, settings, audit)
        gc.freeze()  # what is loaded stays; else a full collection, of 40 to 100 ms, delays a call now and then
        if sys.stdin.isatty():
            backends = shown_backends(settings.backend)
            print(_TERMINAL_HELP.format(backend=backends, clients=", ".join(CLIENTS)), file=sys.stderr)
        anyio.run(serve_stdio, server, server.is_change, early)
    return 0


def _over_http(backend: SessionBackend, settings: Settings) -> int:
    from mcp_sessions.transports.auth.access import access_of
    from mcp_sessions.transports.http.server import listen, serve_http

    access = access_of(settings)
    authenticated = access.authentication is not None
    with _audit(settings, authenticated=authenticated) as audit:
        server = build_server(backend, settings, audit, authenticated=authenticated)
        announce = partial(_announce, settings, http_warnings(settings, authenticated=authenticated))
        gc.freeze()  # as for stdio
        with listen(settings.host, settings.port, access) as listener:
            ended_by = anyio.run(serve_http, server, listener, backend.check_reachable, announce, access)
    return 130 if ended_by == signal.SIGINT else 0


def _announce(settings: Settings, warnings: Sequence[str], url: str) -> None:
    backends = shown_backends(settings.backend)
    print(f"mcp-sessions: sessions of {backends}, serving at {url}", file=sys.stderr, flush=True)
    for warning in warnings:
        print(f"mcp-sessions: warning: {warning}", file=sys.stderr, flush=True)
