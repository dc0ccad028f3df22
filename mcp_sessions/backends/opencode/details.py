"""Functions that return a session, or a change of one, as our models."""

from ...json_documents import JsonObject
from ...models import Change, SessionDetail, iso
from .wire import OpencodeSession, as_datetime
from .writer import WriteResult


def detail_of(session: OpencodeSession) -> SessionDetail:
    """Return a session with everything that opencode knows of it but its messages."""
    return SessionDetail(
        **dict(session.to_session()),
        parent_id=session.parent_id,
        resume_command=f"opencode --session {session.id}",
        metadata=session.metadata or {},
        total_tokens=session.total_tokens,
        version=session.version,
    )


def change_of(
    written: WriteResult, *, name: bool = False, archived_at: bool = False, metadata: bool = False, note: str = ""
) -> Change:
    """Return the result of a change that set these fields."""

    def fields(session: OpencodeSession) -> JsonObject:
        values: JsonObject = {"name": session.name} if name else {}
        values |= {"archived_at": _archived_at(session)} if archived_at else {}
        return values | ({"metadata": session.metadata or {}} if metadata else {})

    return Change(
        session_id=written.after.id,
        changed=fields(written.after),
        previous=fields(written.before),
        version=written.after.version,
        note=note,
    )


def _archived_at(session: OpencodeSession) -> str:
    return iso(as_datetime(session.archived)) if session.is_archived else ""
