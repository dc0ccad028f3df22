"""`mcp-sessions serve`: the configured backend over stdio, or over HTTP."""

import json
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import anyio

from mcp_sessions.audit import STDERR, Audit
from mcp_sessions.backends import open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.commands import refuse
from mcp_sessions.errors import SessionsError
from mcp_sessions.models import is_array, is_object
from mcp_sessions.server import SessionsServer, create_server
from mcp_sessions.settings import BadSetting, Settings

_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_ON_A_TERMINAL = """\
mcp-sessions serves agent sessions over MCP. It waits here for an MCP client's messages on stdin, so start it from
a client's configuration rather than by hand. `mcp-sessions demo` shows what it does; Ctrl-D ends it.
"""


def run(settings: Settings) -> int:
    status = 0
    try:
        backend = _backend(settings)
        status = _over_http(backend, settings) if settings.transport == "http" else _over_stdio(backend, settings)
    except* BadSetting as errors:
        status = refuse(str(_first(errors)))
    except* SessionsError as errors:
        status = refuse(f"--backend: {_first(errors)}")
    except* KeyboardInterrupt:
        status = 130
    return status


def _backend(settings: Settings) -> SessionBackend:
    return open_backend(
        settings.backend,
        timeout=settings.timeout,
        token=settings.token,
        keep_deleted=settings.keep_deleted,
        recheck=settings.recheck,
        trust_env=settings.trust_env,
        allow_http=settings.allow_http,
        agents=_agents(settings.agents),
        callers_have_credentials=settings.own_credentials or bool(settings.backend_tokens),
    )


def _agents(path: str) -> Mapping[str, Sequence[str]]:
    from mcp_sessions.transports.watched import WatchedFile

    accepts = 'a file such as {"ada": ["UUID"]}'
    return WatchedFile("--agents", path, _lists, accepts).check() if path else {}


def _lists(content: bytes) -> Mapping[str, Sequence[str]]:
    agents = json.loads(content)
    if not is_object(agents) or not all(is_array(ids) for ids in agents.values()):
        raise ValueError("no object of lists")
    return agents


def _server(
    backend: SessionBackend, settings: Settings, audit: Audit | None, *, authenticated: bool = False
) -> SessionsServer:
    if settings.user or authenticated:
        reason = backend.why_not_narrowed()
        if reason:
            raise BadSetting(f"{'--user' if settings.user else 'callers'} can't be told apart here: {reason}")
    return create_server(
        backend,
        user=settings.user,
        session=settings.session,
        read_only=settings.read_only,
        toolsets=settings.toolsets,
        confirm=settings.confirm,
        max_chars=settings.max_chars,
        redact=settings.redact,
        authenticated=authenticated,
        rate=settings.rate if settings.transport == "http" else 0,
        audit=audit,
        state_key=settings.state_key,
    )


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
    from mcp_sessions.transports.stdio import serve_stdio

    if settings.own_credentials or settings.backend_tokens:
        flag = "--own-credentials" if settings.own_credentials else "--backend-tokens"
        raise BadSetting(f"{flag} needs callers to say who they are, which they do over HTTP: add --transport http.")
    ignored = {"--tokens": settings.tokens, "--jwt-issuer": settings.jwt_issuer, "--jwt-jwks": settings.jwt_jwks}
    for flag, value in ignored.items():
        if value:
            raise BadSetting(
                f"{flag} lets nobody in over stdio, where whoever starts it is served: add --transport http."
            )
    with _audit(settings) as audit:
        server = _server(backend, settings, audit)
        if sys.stdin.isatty():
            print(_ON_A_TERMINAL, file=sys.stderr)
        anyio.run(serve_stdio, server, server.is_change)
    return 0


def _over_http(backend: SessionBackend, settings: Settings) -> int:
    from mcp_sessions.transports.access import access_of
    from mcp_sessions.transports.http import listen, serve_http

    access = access_of(settings)
    authenticated = access.authentication is not None
    with _audit(settings, authenticated=authenticated) as audit:
        server = _server(backend, settings, audit, authenticated=authenticated)
        announce = partial(_announce, _warnings(settings, authenticated=authenticated))
        with listen(settings.host, settings.port, access) as listener:
            ended_by = anyio.run(serve_http, server, listener, backend.check_reachable, announce, access)
    return 130 if ended_by == signal.SIGINT else 0


def _announce(warnings: Sequence[str], url: str) -> None:
    print(f"mcp-sessions: serving at {url}", file=sys.stderr, flush=True)
    for warning in warnings:
        print(f"mcp-sessions: warning: {warning}", file=sys.stderr, flush=True)


def _warnings(settings: Settings, *, authenticated: bool) -> list[str]:
    warnings: list[str] = []
    if not authenticated and settings.allowed_host:
        name = settings.allowed_host[0]
        warnings.append(f"whoever can call it by {name} sees everybody's sessions. --tokens lets in those you know.")
    if authenticated and not settings.state_key and settings.host not in _THIS_MACHINE:
        warnings.append("MCP_SESSIONS_STATE_KEY is not set, so another replica would refuse what this one began.")
    return warnings


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """The first of them, however deep in groups of groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
