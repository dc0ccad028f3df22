"""A walk through all sessions of a server, newest first, in an order that is exact for sessions of the same time."""

from collections import deque
from collections.abc import Iterable

from ...errors import BadResponse
from .source import OpencodeSource
from .wire import OpencodeSession

_FIRST_PAGE, _PAGE = 100, 1000
_MAX_PAGE = 128_000

Position = tuple[int, int]
"""A session's place in the order: the time of its last update in milliseconds, then its digest."""


def position_of(session: OpencodeSession) -> Position:
    """Return the place of a session in the walk."""
    return session.updated, session.digest


def sort_key(position: tuple[int, ...]) -> tuple[int, int]:
    """Return the key by which places in the walk are sorted: newest first, and by digest among those of one time."""
    return -position[0], position[1]


class Walk:
    """Reads the sessions page by page.

    The server's cursor is a time, and it skips sessions of that time that did not fit into the page. So the sessions of
    a page's last time are read again with the next page. `start`: where to begin, if not at the newest session.
    """

    def __init__(self, source: OpencodeSource, start: Position | None = None) -> None:
        self._source = source
        self._start = sort_key(start) if start else None
        self._before = start[0] + 1 if start else None
        self._limit = _FIRST_PAGE
        self._ready: deque[OpencodeSession] = deque()
        self._is_at_end = False

    async def next(self) -> OpencodeSession | None:
        """Return the next session, or None at the end."""
        while not self._ready and not self._is_at_end:
            await self._read_page()
        return self._ready.popleft() if self._ready else None

    async def _read_page(self) -> None:
        page = await self._source.sessions(before=self._before, limit=self._limit)
        sessions = [row for row in page.sessions if self._before is None or row.updated < self._before]
        if page.is_last or not sessions:
            self._is_at_end = True
            self._add(sessions)
            return
        oldest = min(session.updated for session in sessions)
        complete = [session for session in sessions if session.updated > oldest]
        if complete or self._before != oldest + 1:
            self._add(complete)
            self._before, self._limit = oldest + 1, _PAGE
        elif self._limit < _MAX_PAGE:  # a whole page of sessions of one time
            self._limit *= 2
        else:
            raise BadResponse("opencode's list of sessions can't be paged. Check the version of opencode.")

    def _add(self, sessions: Iterable[OpencodeSession]) -> None:
        found = sorted(sessions, key=lambda session: sort_key(position_of(session)))
        self._ready += [row for row in found if self._start is None or sort_key(position_of(row)) >= self._start]
