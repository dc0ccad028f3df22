"""The default `changes` and `export_session` of all backends, made of the operations that every backend has."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..json_documents import JsonObject
from ..models import (
    DEFAULT_HISTORY,
    HistoryQuery,
    Message,
    MessagePage,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPage,
)

_TOLERANCE = timedelta(seconds=2)
"""How far before `since` to look: a system may show a change late, or round its time down to the second."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class SessionReader(Protocol):
    """The operations that every backend has."""

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage: ...

    async def get_session(self, session_id: str) -> SessionDetail: ...

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage: ...


async def changes(backend: SessionReader, since: datetime | None, *, page_size: int = 100) -> AsyncGenerator[Session]:
    """Yield the active and archived sessions updated since a time, newest first, each once. None yields all.

    A session without `updated_at` is ordered by `archived_at`, and one without either is the oldest. A session that
    changes during the walk may be left out; its new time is then later than that of the first session.
    """
    earliest = since.replace(microsecond=0) - _TOLERANCE if since else _EARLIEST
    walks = [_updated_since(backend, earliest, page_size, archived=archived) for archived in (False, True)]
    yielded: set[str] = set()
    async with aclosing(newest_first(walks)) as merged:
        async for session in merged:
            if session.id not in yielded:  # a session that is archived during the walk is in both lists
                yielded.add(session.id)
                yield session


async def newest_first(walks: Sequence[AsyncGenerator[Session]]) -> AsyncGenerator[Session]:
    """Yield the sessions of all walks, each of which yields its newest session first. Close the walks at the end."""
    async with AsyncExitStack() as stack:
        for walk in walks:
            await stack.enter_async_context(aclosing(walk))
        first = {walk: await anext(walk, None) for walk in walks}
        while waiting := {walk: session for walk, session in first.items() if session is not None}:
            walk, session = max(waiting.items(), key=lambda item: _updated_at(item[1]))
            yield session
            first[walk] = await anext(walk, None)


async def _updated_since(
    backend: SessionReader, earliest: datetime, page_size: int, *, archived: bool
) -> AsyncGenerator[Session]:
    cursor = ""
    while True:
        page = await backend.list_sessions(SessionFilter(archived=archived), limit=page_size, cursor=cursor)
        for session in page.sessions:
            if _updated_at(session) < earliest:
                return
            yield session
        cursor = page.next_cursor
        if not cursor:
            return


def _updated_at(session: Session) -> datetime:
    return session.updated_at or session.archived_at or _EARLIEST


async def export_session(backend: SessionReader, session_id: str, *, page_size: int = 200) -> JsonObject:
    """Return a JSON object with a session's details, its messages, oldest first, and the notes on reading them."""
    session = await backend.get_session(session_id)
    messages: list[Message] = []
    notes: list[str] = []
    cursor = ""
    while True:
        page = await backend.get_session_history(
            session_id, HistoryQuery(include_tools=True), limit=page_size, cursor=cursor
        )
        messages += reversed(page.messages)
        notes += [page.note] if page.note and page.note not in notes else []
        cursor = page.next_cursor
        if not cursor:
            break
    return {
        "session": session.model_dump(mode="json", exclude={"is_current"}),
        "messages": [message.model_dump(mode="json") for message in reversed(messages)],
        "notes": notes,
    }
