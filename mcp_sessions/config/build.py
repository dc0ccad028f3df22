"""What settings stand for, and which of them don't go together."""

import json
from collections.abc import Mapping, Sequence

from ..backends.base import SessionBackend
from ..backends.registry import open_backend
from ..json_documents import is_array, is_object
from ..server.audit_log import Audit
from ..server.sessions_server import SessionsServer, create_server
from .settings import BadSetting, Settings

THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


def backend_of(settings: Settings) -> SessionBackend:
    """Not yet entered. Raises `BadSetting`, or `Invalid` for what is wrong with --backend."""
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


def server_of(
    backend: SessionBackend, settings: Settings, audit: Audit | None = None, *, authenticated: bool = False
) -> SessionsServer:
    """Raises `BadSetting` where callers are to be told apart and this backend can't, and where no tool is offered."""
    reason = backend.why_no_user_scoping() if settings.user or authenticated else ""
    if reason:
        raise BadSetting(f"{'--user' if settings.user else 'callers'} can't be told apart here: {reason}")
    server = create_server(
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
    if not server.tool_names:
        narrowed = " with --read-only" if settings.read_only else ""
        raise BadSetting(
            f"--toolsets can't be {','.join(settings.toolsets)!r}{narrowed}: {backend.title} has no tool of these. "
            "It accepts sessions, history and all."
        )
    return server


def require_nothing_of_http(settings: Settings) -> None:
    """Raise `BadSetting` for what would let nobody in over stdio, or would tell nobody apart."""
    if settings.own_credentials or settings.backend_tokens:
        flag = "--own-credentials" if settings.own_credentials else "--backend-tokens"
        raise BadSetting(f"{flag} needs callers to say who they are, which they do over HTTP: add --transport http.")
    jwt = {
        "--jwt-issuer": settings.jwt_issuer,
        "--jwt-audience": settings.jwt_audience,
        "--jwt-jwks": settings.jwt_jwks,
    }
    for flag, value in {"--tokens": settings.tokens, **jwt}.items():
        if value:
            raise BadSetting(
                f"{flag} lets nobody in over stdio, where whoever starts it is served: add --transport http."
            )


def warnings_of(settings: Settings, *, authenticated: bool) -> Sequence[str]:
    """What is unwise over HTTP."""
    warnings: list[str] = []
    if not authenticated and settings.allowed_host:
        name = settings.allowed_host[0]
        warnings.append(f"whoever can call it by {name} sees everybody's sessions. --tokens lets in those you know.")
    if authenticated and not settings.state_key and settings.host not in THIS_MACHINE:
        warnings.append("MCP_SESSIONS_STATE_KEY is not set, so another replica would refuse what this one began.")
    return warnings


def _agents(path: str) -> Mapping[str, Sequence[str]]:
    from ..transports.auth.operator_file import WatchedFile

    accepts = 'a file such as {"ada": ["UUID"]}'
    return WatchedFile("--agents", path, _lists, accepts).check() if path else {}


def _lists(content: bytes) -> Mapping[str, Sequence[str]]:
    agents = json.loads(content)
    if not is_object(agents) or not all(is_array(ids) for ids in agents.values()):
        raise ValueError("no object of lists")
    return agents
