"""A base class for small systems: it reads all sessions, then filters, sorts and pages them itself."""

from collections.abc import Sequence

from .. import cursors
from ..errors import NotFound, quoted
from ..models import (
    DEFAULT_HISTORY,
    HistoryQuery,
    Message,
    MessagePage,
    Order,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPage,
)
from ..text.words import fold_name
from .base import SessionBackend
from .paging import message_page
from .project_filter import in_project


class ReadAllBackend(SessionBackend):
    """A backend whose subclass only reads all sessions and messages.

    The required operations return only the caller's sessions. If a subclass adds an operation, it must first call
    `get_session`, which raises `NotFound` unless the session is the caller's.
    """

    async def read_sessions(self) -> Sequence[SessionDetail]:
        """Return all sessions of all users, including archived ones, in any order."""
        raise NotImplementedError

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        """Return all messages of an existing session, oldest first, with ids and tool calls."""
        raise NotImplementedError

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        walk = cursors.walk("list", self.caller.user_id, *vars(filter).values())
        after = cursors.read(cursor, walk, 2) if cursor else None
        sign = -1 if filter.order.endswith("desc") else 1

        def order(position: tuple[int, ...]) -> tuple[int, int]:
            return sign * position[0], position[1]

        part, is_in_project = fold_name(filter.query), in_project(filter.project)
        wanted = {
            _position(session, filter.order): session
            for session in await self._own_sessions()
            if is_in_project(session.project) and self._is_wanted(session, filter, part)
        }
        # A cursor is a position in time, so sessions that are added or removed between two pages don't shift it.
        positions = sorted((key for key in wanted if after is None or order(key) > order(after)), key=order)
        page = [_row(wanted[key], cursors.mark(walk, *key)) for key in positions[:limit]]
        return SessionPage(
            sessions=tuple(page),
            next_cursor=page[-1].cursor if len(positions) > limit else "",
            total=len(wanted),
        )

    async def get_session(self, session_id: str) -> SessionDetail:
        for session in await self._own_sessions():
            if session.id == session_id:
                return session
        raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        await self.get_session(session_id)
        messages = await self.read_messages(session_id)
        return message_page(session_id, messages, query.selects, query, limit=limit, cursor=cursor)

    async def _own_sessions(self) -> list[SessionDetail]:
        user = self.caller.user_id
        return [session for session in await self.read_sessions() if not user or session.user_id == user]

    def _is_wanted(self, session: SessionDetail, filter: SessionFilter, part: str) -> bool:
        return (
            (session.archived_at is not None) == filter.archived
            and filter.type in ("", session.type)
            and filter.agent_id in ("", session.agent_id)
            and filter.is_in_time(session.updated_at)
            and part in fold_name(self.caller.sanitize(session.name))
        )


def _position(session: SessionDetail, order: Order) -> tuple[int, int]:
    """Return the session's time in microseconds, and a digest that orders sessions of the same time."""
    time = session.updated_at if order.startswith("updated") else session.created_at
    return max(round(time.timestamp() * 1_000_000), 0) if time else 0, cursors.digest(session.id, 7)


def _row(session: SessionDetail, cursor: str) -> Session:
    return Session.model_validate(vars(session) | {"cursor": cursor})
