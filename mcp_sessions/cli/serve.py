"""`mcp-sessions serve`: the configured backend over stdio, or over HTTP."""

import gc
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import mask_passwords
from mcp_sessions.cli.parser import CLIENTS
from mcp_sessions.cli.refusals import refuse, refuse_backend
from mcp_sessions.config.build import backend_of, require_nothing_of_http, server_of, warnings_of
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import SessionsError, visible
from mcp_sessions.server.audit_log import STDERR, Audit

E = TypeVar("E", bound=Exception)

_ON_A_TERMINAL = """\
mcp-sessions lets agents find, read and change their sessions, over MCP: here those of
{backend}
It waits here for an MCP client's messages on stdin, so start it from a client's configuration rather than by hand:
`mcp-sessions config CLIENT` prints that for {clients}.
`mcp-sessions demo` shows what it does, `mcp-sessions doctor` checks what is set. Ctrl-D ends it.
"""


def run(settings: Settings) -> int:
    status = 0
    try:
        backend = backend_of(settings)
        status = _over_http(backend, settings) if settings.transport == "http" else _over_stdio(backend, settings)
    except* BadSetting as errors:
        status = refuse(str(_first(errors)))
    except* SessionsError as errors:
        status = refuse_backend(_first(errors))
    except* KeyboardInterrupt:
        status = 130
    return status


@contextmanager
def _audit(settings: Settings, *, authenticated: bool = False) -> Generator[Audit | None]:
    path = settings.audit or (STDERR if authenticated else "")
    try:
        audit = Audit(path) if path else None
    except OSError as error:
        reason = (error.strerror or "it can't be written to").lower()
        raise BadSetting(f"--audit can't be {path[:80]!r}: {reason}. It accepts a file, or - for stderr.") from None
    with closing(audit) if audit else nullcontext():
        yield audit


def _over_stdio(backend: SessionBackend, settings: Settings) -> int:
    from mcp_sessions.transports.stdio.server import serve_stdio

    require_nothing_of_http(settings)
    with _audit(settings) as audit:
        server = server_of(backend, settings, audit)
        if sys.stdin.isatty():
            backend_shown = visible(mask_passwords(settings.backend))
            print(_ON_A_TERMINAL.format(backend=backend_shown, clients=", ".join(CLIENTS)), file=sys.stderr)
        gc.freeze()  # as in cli.py, what was made since
        anyio.run(serve_stdio, server, server.is_change)
    return 0


def _over_http(backend: SessionBackend, settings: Settings) -> int:
    from mcp_sessions.transports.auth.access import access_of
    from mcp_sessions.transports.http.server import listen, serve_http

    access = access_of(settings)
    authenticated = access.authentication is not None
    with _audit(settings, authenticated=authenticated) as audit:
        server = server_of(backend, settings, audit, authenticated=authenticated)
        announce = partial(_announce, settings, warnings_of(settings, authenticated=authenticated))
        with listen(settings.host, settings.port, access) as listener:
            gc.freeze()
            ended_by = anyio.run(serve_http, server, listener, backend.check_reachable, announce, access)
    return 130 if ended_by == signal.SIGINT else 0


def _announce(settings: Settings, warnings: Sequence[str], url: str) -> None:
    backend = visible(mask_passwords(settings.backend))
    print(f"mcp-sessions: sessions of {backend}, serving at {url}", file=sys.stderr, flush=True)
    for warning in warnings:
        print(f"mcp-sessions: warning: {warning}", file=sys.stderr, flush=True)


def _first(errors: BaseExceptionGroup[E]) -> E:
    """The first of them, however deep in groups of groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
