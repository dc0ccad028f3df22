"""Lists of sessions, some of which are archived in the overlay while the system lists them as active.

A page is filled by walking the system's own list, so its cursors are the system's cursors.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import anyio

from ....errors import Timeout
from ....models import Session, SessionFilter, SessionPage
from ..many.merge import END, MemberPage, MergedCursors, Position, merge
from .facts import session_identity

PageAt = Callable[[int, str], Awaitable[SessionPage]]
"""Returns a page of the system's list, given a limit and a cursor."""
LookUp = Callable[[Sequence[Session]], Awaitable[Mapping[str, datetime]]]
"""Returns when those of the sessions that are archived in the overlay were archived, by identity."""

_PAGE_SIZE = 100  # sessions read at once to look for archived ones
_STOPPED = "Time ran out before the page was full. Continue with next_cursor."


class _SystemList:
    """The system's list, read page by page until its end, or until time runs out."""

    def __init__(self, page_at: PageAt, size: int, cursor: str, seconds: float) -> None:
        self.position: Position = cursor
        """The cursor to continue from; `END` at the end of the list."""
        self.notes: list[str] = []
        self._page_at = page_at
        self._size = size
        self._ends_at = anyio.current_time() + seconds
        self._has_begun = False

    async def next_rows(self) -> Sequence[Session]:
        """Return the next sessions, each with the cursor that continues after it. Empty at the end."""
        while self.position is not None:
            if self._has_begun and anyio.current_time() > self._ends_at:
                self._add_note(_STOPPED)
                break
            try:
                page = await self._read_page(self.position)
            except Timeout:
                if not self._has_begun:
                    raise
                self._add_note(_STOPPED)
                break
            self._has_begun = True
            self._add_note(page.note)
            self.position = page.next_cursor or END
            if page.sessions:
                return page.sessions
        return ()

    async def _read_page(self, cursor: str) -> SessionPage:
        page = await self._page_at(self._size, cursor)
        if not all(session.cursor for session in page.sessions[:-1]):
            # The cursor after a page of one session is the one after that session, which has none itself.
            self._size = 1
            page = await self._page_at(1, cursor)
        if page.sessions and not page.sessions[-1].cursor:
            last = page.sessions[-1].model_copy(update={"cursor": page.next_cursor})
            page = page.model_copy(update={"sessions": (*page.sessions[:-1], last)})
        return page

    def _add_note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)


async def active_page(page_at: PageAt, archived: LookUp, *, limit: int, cursor: str, seconds: float) -> SessionPage:
    """Return a page of the system's active sessions without those that are archived in the overlay."""
    listed = _SystemList(page_at, limit, cursor, seconds)
    found: list[Session] = []
    while len(found) < limit and (rows := await listed.next_rows()):
        hidden = await archived(rows)
        visible = [session for session in rows if session_identity(session) not in hidden]
        if len(found) + len(visible) > limit:
            found += visible[: limit - len(found)]
            return SessionPage(sessions=tuple(found), next_cursor=found[-1].cursor, note=" ".join(listed.notes))
        found += visible
    return SessionPage(
        sessions=tuple(found),
        next_cursor=listed.position or "",
        total=len(found) if listed.position is END and not cursor else None,
        note=" ".join(listed.notes),
    )


async def archived_page(
    active_at: PageAt,
    archived_at: PageAt,
    archived: LookUp,
    filter: SessionFilter,
    *,
    identities: Callable[[int], Awaitable[set[str]]],
    limit: int,
    cursor: str,
    user_id: str,
    seconds: float,
) -> SessionPage:
    """Return a page of the sessions that are archived in the overlay or by the system itself.

    `identities` returns the identities of those that are archived in the overlay, up to a number.
    """
    cursors = MergedCursors("archived", user_id, *vars(filter).values())
    positions = cursors.read(cursor, 2)
    notes: list[str] = []
    pages: dict[int, MemberPage[Session]] = {}
    active_position, archived_position = positions
    if active_position is not None:
        listed = _SystemList(active_at, _PAGE_SIZE, active_position, seconds)
        pages[0] = await _archived_member(listed, archived, limit, await identities(limit + 1))
        notes += listed.notes
    if archived_position is not None:
        listed = _SystemList(archived_at, limit, archived_position, seconds)
        pages[1] = MemberPage(await listed.next_rows(), listed.position or "")
        notes += listed.notes
    merged = merge(pages, positions, limit, order=_order(filter), cursors=cursors)
    return SessionPage(
        sessions=tuple(session.model_copy(update={"cursor": after}) for _, session, after in merged.rows),
        next_cursor=merged.next_cursor,
        total=None if cursor or merged.next_cursor else len(merged.rows),
        note=" ".join(dict.fromkeys(notes)),
    )


async def _archived_member(
    listed: _SystemList, archived: LookUp, limit: int, identities: set[str]
) -> MemberPage[Session]:
    """Return up to `limit` sessions of the system's list that are archived in the overlay.

    `identities`: of all sessions that are archived in the overlay, or of more than `limit` of them.
    """
    is_whole = listed.position == "" and len(identities) <= limit
    missing = set(identities)
    found: list[Session] = []
    while missing:  # once all were found, the rest of the list needn't be read
        rows = await listed.next_rows()
        times = await archived(rows)
        for session in rows:
            identity = session_identity(session)
            if (time := times.get(identity)) is not None:
                if len(found) == limit:
                    return MemberPage(found, found[-1].cursor)
                found.append(session.model_copy(update={"archived_at": time}))
                if is_whole:
                    missing.discard(identity)
        if not rows or (len(found) == limit and not is_whole):
            return MemberPage(found, listed.position or "")
    return MemberPage(found, "")


def _order(filter: SessionFilter) -> Callable[[Session], float]:
    sign = -1 if filter.order.endswith("desc") else 1

    def order(session: Session) -> float:
        time = session.updated_at if filter.order.startswith("updated") else session.created_at
        return sign * time.timestamp() if time else 0.0

    return order
