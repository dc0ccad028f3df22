"""A backend for a system that is small enough to be read whole: what is selected, ordered and paged is so here."""

from collections.abc import Sequence
from copy import copy
from hashlib import blake2b
from typing import Self

from .. import cursors
from ..caller import Caller
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
from ..text.words import folded
from .base import SessionBackend
from .paging import message_page


class WholeBackend(SessionBackend):
    """A subclass says what there is, whoever asks; the required operations show each caller what is theirs of it.

    An operation more that it declares begins with `get_session`, which finds none but the caller's.
    """

    _caller = Caller()

    async def read_sessions(self) -> Sequence[SessionDetail]:
        """All sessions, of all users, archived ones too, in any order."""
        raise NotImplementedError

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        """All messages of a session that is there, oldest first, each with an id and its tool calls."""
        raise NotImplementedError

    def for_caller(self, caller: Caller) -> Self:
        view = copy(self)
        view._caller = caller
        return view

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """By place in the order of time, so that what is added or removed meanwhile moves nothing."""
        walk = cursors.walk("list", self._caller.user_id, *vars(filter).values())
        after = cursors.read(cursor, walk, 2) if cursor else None
        sign = -1 if filter.order.endswith("desc") else 1

        def order(place: tuple[int, ...]) -> tuple[int, int]:
            return sign * place[0], place[1]

        part = folded(filter.query)
        wanted = {
            _place(session, filter.order): session
            for session in await self._own_sessions()
            if self._is_wanted(session, filter, part)
        }
        places = sorted((place for place in wanted if after is None or order(place) > order(after)), key=order)
        page = [_row(wanted[place], cursors.mark(walk, *place)) for place in places[:limit]]
        return SessionPage(
            sessions=tuple(page),
            next_cursor=page[-1].cursor if len(places) > limit else "",
            total=len(wanted),
        )

    async def get_session(self, session_id: str) -> SessionDetail:
        for session in await self._own_sessions():
            if session.id == session_id:
                return session
        raise NotFound(f"no session {quoted(session_id)}. list_sessions shows those there are.")

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        await self.get_session(session_id)
        messages = await self.read_messages(session_id)
        return message_page(session_id, messages, query.selects, query, limit=limit, cursor=cursor)

    async def _own_sessions(self) -> list[SessionDetail]:
        user = self._caller.user_id
        return [session for session in await self.read_sessions() if not user or session.user_id == user]

    def _is_wanted(self, session: SessionDetail, filter: SessionFilter, part: str) -> bool:
        return (
            (session.archived_at is not None) == filter.archived
            and filter.type in ("", session.type)
            and filter.agent_id in ("", session.agent_id)
            and filter.is_in_time(session.updated_at)
            and part in folded(self._caller.present(session.name))
        )


def _place(session: SessionDetail, order: Order) -> tuple[int, int]:
    """Microseconds, then a digest that tells those of one time apart."""
    moment = session.updated_at if order.startswith("updated") else session.created_at
    digest = blake2b(session.id.encode(errors="backslashreplace"), digest_size=7).digest()
    return max(round(moment.timestamp() * 1_000_000), 0) if moment else 0, int.from_bytes(digest)


def _row(session: SessionDetail, cursor: str) -> Session:
    return Session.model_validate(vars(session) | {"cursor": cursor})
