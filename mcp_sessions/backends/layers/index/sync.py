"""Brings the index up to date with a backend: reads the sessions that changed, newest first."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import anyio

from ....errors import BadResponse, NotFound, Timeout, Unavailable, Unsupported
from ....models import HistoryQuery, Session
from ....text.sanitize import sanitize
from ...base import SessionBackend
from ...database.times import now_micros, to_datetime
from ...gather import map_concurrently
from . import tables
from .store import IndexStore
from .tables import IndexedSession, Text

_AT_ONCE = 8
_PAGE = 200
_SETTLED = 60_000_000
"""Microseconds after which a session whose time is unchanged is not read again, since a system's times may be rough."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the index is: the number of sessions still to be read, and whether all of those are known."""

    pending: int = 0
    is_listed: bool = True

    @property
    def note(self) -> str:
        """Return a sentence about what is missing, "" if nothing is."""
        if not self.pending and self.is_listed:
            return ""
        count = f"{self.pending}{'' if self.is_listed else ' or more'} sessions"
        return f"{count} are not indexed yet, so they were not searched. Repeat the call to index more."


class Sync:
    """Updates the index's copy of one source, as one caller sees it. `scope` is the caller's user."""

    def __init__(self, backend: SessionBackend, store: IndexStore, source: str, scope: str) -> None:
        self._backend = backend
        self._store = store
        self._source = source
        self._scope = scope

    async def run(self, stops_at: float) -> Coverage:
        """Read sessions until the time on the event loop's clock. Return what is missing after that."""
        mark = await self._store.scan(lambda tx: tables.mark(tx, self._source, self._scope))
        listing_stops_at = (anyio.current_time() + stops_at) / 2  # so that there is always time to read some
        changed, is_listed = await self._changed(to_datetime(mark) if mark is not None else None, listing_stops_at)
        ids = [session.id for session in changed]
        known = await self._store.scan(lambda tx: tables.indexed(tx, self._source, ids))
        waiting = [session for session in changed if not self._is_current(session, known.get(session.id))]
        total = len(waiting)
        while waiting:
            if anyio.current_time() >= stops_at or not await self._index(waiting[:_AT_ONCE], known):
                return Coverage(len(waiting), is_listed)
            del waiting[:_AT_ONCE]
            done = total - len(waiting)
            await self._backend.caller.progress(done, f"{done} of {total} sessions indexed")
        if is_listed and changed:
            newest = max(map(_changed_at, changed))
            await self._store.write(lambda tx: tables.set_mark(tx, self._source, self._scope, newest))
        return Coverage(is_listed=is_listed)

    async def _changed(self, since: datetime | None, stops_at: float) -> tuple[list[Session], bool]:
        """Return the sessions that changed since a time, newest first, and whether these are all."""
        sessions: list[Session] = []
        async with aclosing(self._backend.changes(since)) as changes:
            async for session in changes:
                sessions.append(session)
                if anyio.current_time() >= stops_at:
                    return sessions, False
        return sessions, True

    def _is_current(self, session: Session, known: IndexedSession | None) -> bool:
        if known is None or known.changed_at != _changed_at(session) or known.owner != self._owner(session, known):
            return False
        return known.read_at - known.changed_at > _SETTLED

    def _owner(self, session: Session, known: IndexedSession | None) -> str:
        return self._scope or session.user_id or (known.owner if known else "")

    async def _index(self, sessions: Sequence[Session], known: dict[str, IndexedSession]) -> bool:
        """Read sessions and index their texts. Return False if the system does not answer."""
        try:
            texts = await map_concurrently(self._texts, sessions)
        except (Unavailable, Timeout):
            return False
        for session, (exists, found) in zip(sessions, texts, strict=True):
            owner = self._owner(session, known.get(session.id))
            if exists:
                await self._put(session, owner, found)
            else:
                await self._store.write(partial(tables.drop_session, source=self._source, session_id=session.id))
        return True

    async def _put(self, session: Session, owner: str, texts: list[Text] | None) -> None:
        changed_at = _changed_at(session)
        await self._store.write(lambda tx: tables.put_session(tx, self._source, session.id, owner, changed_at, texts))

    async def _texts(self, session: Session) -> tuple[bool, list[Text] | None]:
        """Return whether the session exists, and its texts, or None if they can't be read."""
        try:
            return True, await self._read(session)
        except NotFound:
            return False, None
        except (BadResponse, Unsupported):
            return True, None

    async def _read(self, session: Session) -> list[Text]:
        changed_at = _changed_at(session)
        detail = await self._backend.get_session(session.id)
        found = [Text("name", "", changed_at, detail.name), Text("summary", "", changed_at, detail.summary)]
        cursor = ""
        while True:
            page = await self._backend.get_session_history(session.id, HistoryQuery(), limit=_PAGE, cursor=cursor)
            found += [
                Text("message", message.id, _micros(message.created_at) or changed_at, message.text)
                for message in reversed(page.messages)
                if message.role != "system"
            ]
            cursor = page.next_cursor
            if not cursor:
                break
        visible = [text._replace(text=sanitize(text.text, redact_credentials=True)) for text in found if text.text]
        return visible[::-1]  # so that of the texts of one second, newer ones get larger keys


def _changed_at(session: Session) -> int:
    return _micros(session.updated_at or session.archived_at or session.created_at)


def _micros(moment: datetime | None) -> int:
    return min(round(moment.timestamp() * 1e6), now_micros()) if moment else 0
