"""What every request shares, and the parameters that are filled in for a tool: its backend and its session."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

from mcp.server.mcpserver import Context, Resolve

from ..backends.base import SessionBackend
from ..caller import Caller, Scope
from ..errors import Invalid, Unauthorized
from .audit_log import Audit
from .cursor_cipher import Seal
from .identity import caller_of
from .rate_limit import Rate

Confirm = Literal["auto", "code", "user", "off"]
AppRequest = Context["AppContext"]

CURRENT = "current"
META_KEY = "mcp-sessions/session"
HEADER = "x-session-id"


@dataclass(frozen=True)
class AppContext:
    """One server: its backend, already entered, and how it was set up."""

    backend: SessionBackend
    operator: Caller
    """Who calls where nobody needs to say who they are; else what all callers have in common."""
    authenticated: bool
    session: str
    confirm: Confirm
    max_chars: int
    secret: bytes
    rate: Rate
    seal: Seal | None
    audit: Audit | None

    @property
    def caller(self) -> Caller:
        """Who the request at hand is from. Raises `Unauthorized`."""
        return caller_of(self.operator, authenticated=self.authenticated)

    @property
    def subject(self) -> str:
        """Who the request at hand is from, "" where nothing tells it."""
        try:
            return self.caller.subject
        except Unauthorized:
            return ""

    def admit(self, scope: Scope) -> Caller:
        """The caller of a request that may go on. Raises `Unauthorized`, `Forbidden` or `RateLimited`."""
        caller = self.caller
        self.rate.count(caller.subject)
        caller.require(scope)
        return caller

    def opened(self, cursor: str) -> str:
        """A cursor that a caller sent, as the backend made it. Raises `Invalid`."""
        return self.seal.open(cursor, self.caller.user_id) if self.seal and cursor else cursor

    def closed(self, cursor: str) -> str:
        """A backend's cursor as the caller gets it."""
        return self.seal.close(cursor, self.caller.user_id) if self.seal and cursor else cursor


class CurrentSession(NamedTuple):
    id: str
    resolved_from: str


def app_of(context: AppRequest) -> AppContext:
    return context.request_context.lifespan_context


def current_session(context: AppRequest) -> CurrentSession | None:
    """The caller's own session, from the first place that names one. A hint only: it widens no right."""
    meta = (context.request_context.meta or {}).get(META_KEY)
    if isinstance(meta, str) and meta:
        return CurrentSession(meta, "meta")
    header = (context.headers or {}).get(HEADER)
    if header:
        return CurrentSession(header, "header")
    setting = app_of(context).session
    return CurrentSession(setting, "setting") if setting else None


def resolve_id(session_id: str, context: AppRequest) -> str:
    """`"current"` as the id it stands for; every other id as it is. Raises `Invalid`."""
    if not session_id:
        raise Invalid('"session_id" is empty. Give an id that list_sessions returned, or "current".')
    if session_id != CURRENT:
        return session_id
    current = current_session(context)
    if current is None:
        raise Invalid(
            f'nothing says which session is "current". Name one by the request\'s _meta["{META_KEY}"], '
            "the header X-Session-Id or the setting --session; or give the session's id."
        )
    return current.id


async def caller_backend(context: AppRequest) -> SessionBackend:
    app = app_of(context)

    async def progress(done: float, message: str) -> None:
        await context.report_progress(done, message=message)

    return app.backend.for_caller(replace(app.caller, progress=progress))


Backend = Annotated[SessionBackend, Resolve(caller_backend)]
