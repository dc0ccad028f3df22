"""Indexes the sessions of systems that have no files, and reads hits: one session after the other, newest first."""

import math
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import anyio

from ....errors import BadResponse, NotFound, Timeout, Unavailable, Unsupported
from ....models import HistoryQuery, Session, SessionDetail
from ....text.sanitize import sanitize
from ...base import SessionBackend
from ...database.database import Transaction
from ...database.times import MICROS_PER_DAY, now_micros, to_datetime
from ...deadline import deadline
from ...gather import map_concurrently
from . import tables
from .indexer import FoundText, IndexStatus, Progress, found_message, micros
from .store import OpenIndex
from .tables import IndexedSession, Place
from .texts import Text

_AT_ONCE = 8
_PAGE = 200
_TIME_PRECISION = 60_000_000
"""Microseconds after which a session whose time is unchanged is not read again, since a system's times may be rough."""
_MAX_LOST = 10
"""So many sessions may be removed at once, even if they are most of the indexed ones."""


@dataclass(frozen=True, slots=True)
class ListIndexer:
    """Indexes and reads the sessions that a backend lists, as one caller sees them. `scope` is the caller's user."""

    backend: SessionBackend
    index: OpenIndex
    name: str
    scope: str
    progress: Progress
    _sessions: dict[str, SessionDetail | None] = field(default_factory=dict[str, SessionDetail | None])

    async def update(self, stops_at: float) -> IndexStatus:
        mark, swept_at = await self.index.scan(lambda tx: tables.marks(tx, self.name, self.scope)) or (0, 0)
        listing_stops_at = (anyio.current_time() + stops_at) / 2  # so that there is always time to read some
        sweeps = now_micros() - swept_at > MICROS_PER_DAY
        since = to_datetime(mark) if mark and not sweeps else None
        changed, is_listed = await self._changed(since, listing_stops_at)
        if sweeps and not is_listed and mark:  # the full list takes too long
            sweeps = False
            changed, is_listed = await self._changed(to_datetime(mark), stops_at)
        ids = [session.id for session in changed]
        known = await self.index.scan(lambda tx: tables.indexed(tx, self.name, ids))
        waiting = [session for session in changed if not self._is_current(session, known.get(session.id))]
        pending = await self._index(waiting, known, stops_at)
        if pending or not is_listed:
            return IndexStatus(pending, is_listed)
        if sweeps:
            await self._sweep(set(ids))
            swept_at = now_micros()
        mark = max(map(_changed_at, changed), default=mark)
        await self.index.write(lambda tx: tables.set_marks(tx, self.name, self.scope, mark, swept_at))
        return IndexStatus()

    async def _changed(self, since: datetime | None, stops_at: float) -> tuple[list[Session], bool]:
        """Return the sessions that changed since a time, newest first, and whether these are all."""
        sessions: list[Session] = []
        try:
            with deadline(stops_at - anyio.current_time()):
                async with aclosing(self.backend.changes(since)) as changes:
                    async for session in changes:
                        sessions.append(session)
                        if anyio.current_time() >= stops_at:
                            return sessions, False
        except Timeout:
            if stops_at == math.inf:
                raise
            return sessions, False
        return sessions, True

    async def _sweep(self, listed: set[str]) -> None:
        """Remove sessions that the system no longer lists, unless there are so many that the list may be incomplete."""
        indexed = await self.index.scan(lambda tx: tables.ids(tx, self.name, self.scope))
        gone = indexed - listed
        if len(gone) > max(_MAX_LOST, len(indexed) // 5):
            return

        def drop(tx: Transaction) -> None:
            for session_id in gone:
                tables.drop_session(tx, self.name, session_id)

        await self.index.write(drop)

    def _is_current(self, session: Session, known: IndexedSession | None) -> bool:
        if (
            known is None
            or not known.is_readable
            or known.changed_at != _changed_at(session)
            or known.owner != self._owner(session, known)
        ):
            return False
        return known.read_at - known.changed_at > _TIME_PRECISION

    def _owner(self, session: Session, known: IndexedSession | None) -> str:
        return self.scope or session.user_id or (known.owner if known else "")

    async def _index(self, waiting: list[Session], known: dict[str, IndexedSession], stops_at: float) -> int:
        """Read and index sessions until a time or until the system does not answer. Return how many are left."""
        total = len(waiting)
        while waiting:
            some = waiting[:_AT_ONCE]
            try:
                if anyio.current_time() >= stops_at:
                    break
                with deadline(stops_at - anyio.current_time()):
                    texts = await map_concurrently(self._texts, some)
            except (Unavailable, Timeout):
                break
            for session, (exists, found) in zip(some, texts, strict=True):
                owner = self._owner(session, known.get(session.id))
                if exists:
                    await self._put(session, owner, found)
                else:
                    await self.index.write(partial(tables.drop_session, source=self.name, session_id=session.id))
            del waiting[:_AT_ONCE]
            await self.progress(total - len(waiting), total)
        return len(waiting)

    async def _put(self, session: Session, owner: str, texts: list[Text] | None) -> None:
        changed_at = _changed_at(session)
        await self.index.write(
            lambda tx: tables.put_session(tx, self.name, session.id, owner, changed_at, texts, project=session.project)
        )

    async def _texts(self, session: Session) -> tuple[bool, list[Text] | None]:
        """Return whether the session exists, and its texts, or None if they can't be read."""
        try:
            return True, await self._texts_of(session)
        except NotFound:
            return False, None
        except (BadResponse, Unsupported):
            return True, None

    async def _texts_of(self, session: Session) -> list[Text]:
        changed_at = _changed_at(session)
        detail = await self.backend.get_session(session.id)
        found = [Text("name", "", micros(detail.created_at) or changed_at, detail.name)]
        cursor = ""
        while True:
            page = await self.backend.get_session_history(session.id, HistoryQuery(), limit=_PAGE, cursor=cursor)
            found += [
                Text("message", message.id, micros(message.created_at) or changed_at, message.text)
                for message in reversed(page.messages)
                if message.role != "system"
            ]
            cursor = page.next_cursor
            if not cursor:
                break
        visible = [text._replace(text=sanitize(text.text, redact_credentials=True)) for text in found if text.text]
        return visible[::-1]  # so that of the texts of one second, newer ones get larger keys

    async def read(self, places: Sequence[Place]) -> Sequence[FoundText | None]:
        unknown = [*dict.fromkeys(place.session_id for place in places if place.session_id not in self._sessions)]
        self._sessions.update(zip(unknown, await map_concurrently(self._session, unknown), strict=True))
        return await map_concurrently(self._read_place, places)

    async def _session(self, session_id: str) -> SessionDetail | None:
        try:
            return await self.backend.get_session(session_id)
        except NotFound:
            await self.index.write(lambda tx: tables.drop_session(tx, self.name, session_id))
            return None

    async def _read_place(self, place: Place) -> FoundText | None:
        session = self._sessions[place.session_id]
        if session is None:
            return None
        if place.part == "name":
            return FoundText(session.name, "", session.created_at, session.name)
        try:
            page = await self.backend.get_session_history(session.id, HistoryQuery(message_id=place.message_id))
        except NotFound:
            await self.index.write(lambda tx: tables.drop_place(tx, place.key))
            return None
        return found_message(session.name, page.messages[0])


def _changed_at(session: Session) -> int:
    return micros(session.updated_at or session.archived_at or session.created_at)
