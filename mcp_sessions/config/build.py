"""Builds the backend and the server from settings, and refuses settings that don't go together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import cursors
from ..backends.base import SessionBackend
from ..backends.capability import OVERLAY_FIELDS
from ..backends.flag_errors import name_flag_in_errors
from ..backends.layers.many import combine_backends
from ..backends.layers.read_only_backend import ReadOnlyBackend
from ..backends.registry import known_options, open_backend, options_in, system_of
from ..errors import Invalid
from .backend_addresses import BackendAddress, read_addresses
from .settings import SETTINGS, BadSetting, Settings

if TYPE_CHECKING:  # so that `config` can check settings without loading the SDK
    from ..backends.layers.index import IndexStore
    from ..backends.layers.overlay import OverlayStore
    from ..server.audit_log import AuditLog
    from ..server.sessions_server import SessionsServer

IndexOpener = Callable[[], "IndexStore"]
OverlayOpener = Callable[[], "OverlayStore"]
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


def build_backend(settings: Settings) -> SessionBackend:
    """Return the configured backends as one, not yet entered. Raise the errors of `build_backends`."""
    return combine_backends(build_backends(settings))


def build_backends(settings: Settings) -> Mapping[str, SessionBackend]:
    """Return the configured backends by name. Raise `BadSetting`, or `Invalid` for a bad --backend."""
    addresses = read_addresses(settings.backend)
    backends: dict[str, SessionBackend] = {}
    overlay = _overlay_opener(settings)
    index = cache(lambda: open_index(settings))
    for address in addresses:
        is_only = len(addresses) == 1
        with nullcontext() if is_only else name_flag_in_errors(f"--backend {address.name}".strip()):
            backends[address.name] = _open(address, settings, is_only=is_only, overlay=overlay, index=index)
    return backends


def _overlay_opener(settings: Settings) -> OverlayOpener | None:
    """Return a function that always returns the same overlay. Return None if there is no overlay.

    Raise `BadSetting` if the setting is not a URL of an overlay, even if no backend needs one.
    """
    if settings.overlay == "off":
        return None
    opener = cache(lambda: open_overlay(settings))
    if settings.overlay != Settings().overlay:
        opener()
    return opener


def open_overlay(settings: Settings, *, purges: bool = True) -> "OverlayStore":
    """Return the overlay, not yet entered. Raise `BadSetting` for "off" or a malformed URL.

    `purges`: whether opening it deletes the values of sessions that were deleted long enough ago.
    """
    from ..backends.layers.overlay import OverlayStore  # here, since most backends need no overlay

    if settings.overlay == "off":
        raise BadSetting("--overlay can't be off for this command. Give the overlay's URL.")
    if settings.overlay.partition(":")[0] not in ("sqlite", "postgresql"):
        raise BadSetting("--overlay accepts off, sqlite:///PATH or postgresql://USER@HOST/DATABASE.")
    options = {"timeout": settings.timeout, "keep_deleted": settings.keep_deleted}
    try:
        given = {name: value for name, value in options.items() if value is not None}
        return OverlayStore.from_url(settings.overlay, purges=purges, **given)
    except Invalid as error:
        raise BadSetting(f"--overlay: {error.message.rstrip('.')}.") from error


def open_index(settings: Settings) -> "IndexStore":
    """Return the search index, not yet entered."""
    from ..backends.layers.index import IndexStore  # here, since the embedded store needs none

    return IndexStore(Path(settings.index))


def _open(
    address: BackendAddress, settings: Settings, *, is_only: bool, overlay: OverlayOpener | None, index: IndexOpener
) -> SessionBackend:
    token_variable = address.token_variable
    token = settings.backend_credentials.get(token_variable, "")
    if not token and (is_only or not address.name):  # MCP_SESSIONS_TOKEN is never for a named one of several
        token_variable, token = "MCP_SESSIONS_TOKEN", settings.token
    backend = open_backend(
        address.url,
        token=token,
        token_variable=token_variable,
        callers_have_credentials=settings.own_credentials or bool(settings.backend_tokens),
        read_only=address.is_read_only,
        **backend_options(settings, address.url),
    )
    if overlay is not None and not backend.keeps.issuperset(OVERLAY_FIELDS):
        from ..backends.layers.overlay import Overlay

        backend = Overlay(backend, overlay(), source=system_of(address.url))
    if settings.index != "off" and not backend.has_search_index:
        from ..backends.layers.index import Indexed

        backend = Indexed(backend, index(), source=_index_source(address.url, token, settings.agents))
    return ReadOnlyBackend(backend) if address.is_read_only else backend


def _index_source(url: str, token: str, agents: str | None) -> str:
    """Return the name of a system in the search index. What each credential can see is indexed separately."""
    access = (token, agents or options_in(url).get("agents", ""))
    # 4 bytes tell credentials apart, and are too few to recover one.
    return f"{system_of(url)}#{cursors.digest(repr(access), 4):x}" if any(access) else system_of(url)


def backend_options(settings: Settings, url: str) -> dict[str, Any]:
    """Return the options that settings give to the backend of this URL.

    Raise `BadSetting` for an option that the URL gives too, and `Invalid` if the URL gives an option twice.
    """
    known, in_url = known_options(url), options_in(url)
    values: dict[str, Any] = {"timeout": settings.timeout}
    for name, setting in SETTINGS.items():
        value = getattr(settings, name)
        if not setting.is_alias or value is None or name not in known:
            continue
        if name in in_url:
            raise BadSetting(f"{setting.flag} can't be given together with {name} in the backend's URL: leave one out.")
        try:
            values[name] = known[name].parse(value) if known[name].is_path else value
        except ValueError as error:
            raise BadSetting(f"{setting.flag} can't be {value[:80]!r}: it {error}.") from error
    return values


def refuse_user_scoping(backend: SessionBackend, settings: Settings, *, authenticated: bool) -> None:
    """Raise `BadSetting` if callers must be told apart and this backend can't do that."""
    reason = backend.why_no_user_scoping() if settings.user or authenticated else ""
    if reason:
        refused = "--user can't be used" if settings.user else "callers can't be told apart"
        raise BadSetting(f"{refused} here: {reason}")


def build_server(
    backend: SessionBackend, settings: Settings, audit: "AuditLog | None" = None, *, authenticated: bool = False
) -> "SessionsServer":
    """Return a server for the backend.

    Raise `BadSetting` if it would offer no tool, or if callers must be told apart and this backend can't do that.
    """
    from ..server.sessions_server import create_server

    refuse_user_scoping(backend, settings, authenticated=authenticated)
    server = create_server(
        backend,
        user=settings.user,
        session=settings.session,
        read_only=settings.read_only,
        toolsets=settings.toolsets,
        apps=settings.apps,
        confirm=settings.confirm,
        max_chars=settings.max_chars,
        redact=settings.redact,
        authenticated=authenticated,
        rate=settings.rate if settings.transport == "http" else 0,
        audit=audit,
        state_key=settings.state_key,
    )
    if not server.tool_names:
        read_only = " with --read-only" if settings.read_only else ""
        raise BadSetting(
            f"--toolsets can't be {','.join(settings.toolsets)!r}{read_only}: {backend.title} has no tool in them. "
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
