"""Builds the backend and the server from settings, and refuses settings that don't go together."""

import json
from collections.abc import Mapping, Sequence

from ..backends.base import SessionBackend
from ..backends.registry import open_backend
from ..json_documents import is_array, is_object
from ..server.audit_log import AuditLog
from ..server.sessions_server import SessionsServer, create_server
from .settings import BadSetting, Settings

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


def build_backend(settings: Settings) -> SessionBackend:
    """Return the configured backend, not yet entered. Raise `BadSetting`, or `Invalid` for a bad --backend."""
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


def build_server(
    backend: SessionBackend, settings: Settings, audit: AuditLog | None = None, *, authenticated: bool = False
) -> SessionsServer:
    """Return a server for the backend.

    Raise `BadSetting` if it would offer no tool, or if callers must be told apart and this backend can't do that.
    """
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


def refuse_http_settings(settings: Settings) -> None:
    """Raise `BadSetting` for authentication settings, which have no effect over stdio."""
    if settings.own_credentials or settings.backend_tokens:
        flag = "--own-credentials" if settings.own_credentials else "--backend-tokens"
        raise BadSetting(f"{flag} needs authenticated callers, which exist only over HTTP: add --transport http.")
    jwt = {
        "--jwt-issuer": settings.jwt_issuer,
        "--jwt-audience": settings.jwt_audience,
        "--jwt-jwks": settings.jwt_jwks,
    }
    for flag, value in {"--tokens": settings.tokens, **jwt}.items():
        if value:
            raise BadSetting(
                f"{flag} has no effect over stdio, where the only caller is the one that starts the server: "
                "add --transport http."
            )


def http_warnings(settings: Settings, *, authenticated: bool) -> Sequence[str]:
    """Return warnings about settings that are unwise over HTTP."""
    warnings: list[str] = []
    if not authenticated and settings.allowed_host:
        name = settings.allowed_host[0]
        warnings.append(f"anybody who can reach {name} sees everybody's sessions. Set --tokens to restrict access.")
    if authenticated and not settings.state_key and settings.host not in LOOPBACK_HOSTS:
        warnings.append(
            "MCP_SESSIONS_STATE_KEY is not set, so other replicas refuse the cursors and confirmations of this one."
        )
    return warnings


def _agents(path: str) -> Mapping[str, Sequence[str]]:
    from ..transports.auth.operator_file import OperatorFile

    accepts = 'a file such as {"ada": ["UUID"]}'
    return OperatorFile("--agents", path, _parse_agents, accepts).check() if path else {}


def _parse_agents(content: bytes) -> Mapping[str, Sequence[str]]:
    agents = json.loads(content)
    if not is_object(agents) or not all(is_array(ids) for ids in agents.values()):
        raise ValueError("not an object of lists")
    return agents
