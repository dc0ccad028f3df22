"""The server's context for a request: settings, caller, current session and backend."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, Resolve

from ..backends.base import SessionBackend
from ..caller import Caller, Scope
from ..errors import Invalid, Unauthorized, quoted
from .audit_log import AuditLog
from .confirm_mode import ConfirmMode
from .cursor_cipher import CursorCipher
from .identity import caller_of
from .rate_limit import RateLimiter

AppRequest = Context["AppContext"]
Request = ServerRequestContext["AppContext", Any]
"""The `request_context` of an `AppRequest`. Read it once for a call, since the SDK takes microseconds to return it."""

CURRENT = "current"
META_KEY = "mcp-sessions/session"
HEADER = "x-session-id"
_MAX_FOUND_HINTS = 1_000
_MAX_NAMED = 10
_found_in_client: ContextVar[tuple[str, str]] = ContextVar("_found_in_client", default=("", ""))
"""The id of a request, and of the session that `find_current` found for it. Several requests may share a context."""


@dataclass(frozen=True)
class AppContext:
    """One server's settings and its backend, which is already entered."""

    backend: SessionBackend
    operator: Caller
    """Without authentication, the caller of every request; with authentication, the template for each caller."""
    authenticated: bool
    session: str
    confirm: ConfirmMode
    max_chars: int
    secret: bytes
    rate_limiter: RateLimiter
    cursor_cipher: CursorCipher | None
    audit: AuditLog | None
    found_hints: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """(subject, hint) → the id that `find_current` found for it. A hint is a client's id for the current session."""

    @property
    def caller(self) -> Caller:
        """The caller of the current request. Raises `Unauthorized`."""
        return caller_of(self.operator, authenticated=self.authenticated)

    @property
    def subject(self) -> str:
        """The subject of the current request's caller, "" if it has no valid token."""
        try:
            return self.caller.subject
        except Unauthorized:
            return ""

    def admit(self, scope: Scope) -> Caller:
        """Return the caller, after counting the call. Raise `Unauthorized`, `Forbidden` or `RateLimited`."""
        caller = self.caller
        self.rate_limiter.count(caller.subject)
        caller.require(scope)
        return caller

    def decrypt_cursor(self, cursor: str) -> str:
        """Return the backend's cursor for the one that a caller sent. Raise `Invalid` if it isn't this caller's."""
        return self.cursor_cipher.decrypt(cursor, self.caller.user_id) if self.cursor_cipher and cursor else cursor

    def encrypt_cursor(self, cursor: str) -> str:
        """Return the cursor to send to the caller for a backend's cursor."""
        return self.cursor_cipher.encrypt(cursor, self.caller.user_id) if self.cursor_cipher and cursor else cursor


class CurrentSession(NamedTuple):
    id: str
    resolved_from: str


def app_of(context: AppRequest) -> AppContext:
    return context.request_context.lifespan_context


def current_session(request: Request) -> CurrentSession | None:
    """Return the session that is named by the request's `_meta`, else by its header, its client or the setting.

    If there is none, return the one that `find_current` has found for this request.

    Its id is canonical. It is only a hint: it gives no access to a session. With several backends, a hint without a
    backend's name means the session that `find_current` has found for it, else one of the backend without a name.
    """
    app = request.lifespan_context
    hint = _current_hint(request)
    if hint is None:
        request_id, found = _found_in_client.get()
        return CurrentSession(found, "client") if found and request_id == str(request.request_id) else None
    found = app.found_hints.get((app.caller.subject, hint.id))
    return CurrentSession(found or app.backend.canonical_id(hint.id), hint.resolved_from)


def may_be_current(session_id: str, request: Request) -> bool:
    """Return whether a canonical id may be the current session's. Call `find_current` to be certain."""
    hint = _current_hint(request)
    return hint is not None and request.lifespan_context.backend.may_be_hint(hint.id, session_id)


async def find_current(request: Request) -> None:
    """Find the current session's id if the hint lacks its backend's name. Remember the id for `current_session`.

    Without a hint, ask the backend for the session that is open in the client that started this process.

    Raise `Invalid` if the session may be one of several, or the error of a backend that could not answer.
    """
    app = request.lifespan_context
    hint = _current_hint(request)
    if hint is None:
        _found_in_client.set((str(request.request_id), _only(await find_in_client(request))))
        return
    key = (app.caller.subject, hint.id)
    if key in app.found_hints:
        return
    if found := await app.backend.for_caller(app.caller).resolve_hint(hint.id):
        if len(app.found_hints) >= _MAX_FOUND_HINTS:
            app.found_hints.clear()
        app.found_hints[key] = found


async def find_in_client(request: Request) -> Sequence[str]:
    """Return the ids of the sessions that may be open in the client that started this process. Ask the backend."""
    if getattr(request.request, "headers", None) is not None:  # over HTTP, the client did not start it
        return ()
    app = request.lifespan_context
    return await app.backend.for_caller(app.caller).find_client_sessions()


def _only(session_ids: Sequence[str]) -> str:
    """Return the only id, "" if there is none. Raise `Invalid` if there are several."""
    if len(session_ids) > 1:
        ids = " or ".join(map(quoted, session_ids[:_MAX_NAMED]))
        raise Invalid(f'the current session may be any of {len(session_ids)}: {ids}. Give its id instead of "current".')
    return session_ids[0] if session_ids else ""


def _current_hint(request: Request) -> CurrentSession | None:
    """Return the current session's id as the request or the setting gives it."""
    app, meta = request.lifespan_context, request.meta or {}
    headers: Mapping[str, str] | None = getattr(request.request, "headers", None)
    named = meta.get(META_KEY)
    header = headers.get(HEADER, "") if headers is not None else ""
    client = app.backend.session_in_meta(meta)
    if headers is None:  # over HTTP, the client did not start this process
        client = client or app.backend.client_session()
    hints = ((named, "meta"), (header, "header"), (client, "client"), (app.session, "setting"))
    found = ((hint, source) for hint, source in hints if isinstance(hint, str) and hint)
    return next((CurrentSession(hint, source) for hint, source in found), None)


def resolve_id(session_id: str, request: Request) -> str:
    """Return the canonical id of a session, or of the current one for `"current"`. Raise `Invalid` if none is set."""
    if not session_id:
        raise Invalid('"session_id" is empty. Give an id that list_sessions returned, or "current".')
    if session_id != CURRENT:
        return request.lifespan_context.backend.canonical_id(session_id)
    current = current_session(request)
    if current is None:
        raise Invalid(
            f'there is no current session. Set _meta["{META_KEY}"] of the request, the header X-Session-Id '
            "or the setting --session; or give the session's id."
        )
    return current.id


async def caller_backend(context: AppRequest) -> SessionBackend:
    app = app_of(context)

    async def progress(done: float, message: str) -> None:
        await context.report_progress(done, message=message)

    return app.backend.for_caller(replace(app.caller, progress=progress))


Backend = Annotated[SessionBackend, Resolve(caller_backend)]
