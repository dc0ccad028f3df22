"""A reader of AgentOS's numbered pages that skips rows on which AgentOS fails.

One row that AgentOS can't render (half of a surrogate pair, a name that is not a string, a time in milliseconds) makes
AgentOS answer HTTP 500 for every page that contains this row, so a page that fails is read in smaller parts.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import anyio

from ..http.client import ServerFailed, TooLarge
from .wire import AgentOsSession

_MAX_FAILED_ROWS = 16
"""How many rows AgentOS may fail on before `PageReader` gives up on the list. Each one costs some ten requests."""
_MAX_ROWS = 10_000
"""The length of the longest list that `read_all` reads. AgentOS needs some 0.3 ms for each row."""
_PAGE = 128

Sort = Literal["time", "reversed time", "id"]
"""By the time of the list's order, which several sessions may share, or by the session's id, which is unique."""


class UpstreamPage(NamedTuple):
    """A page of AgentOS's list. `total` is the length of the whole list, if AgentOS returns it."""

    rows: list[AgentOsSession]
    total: int | None


Fetch = Callable[[Sort, int, int], Awaitable[UpstreamPage]]
"""Fetch a page: its order, its number (from 1), its size. Raises `ServerFailed` if AgentOS fails on one of its rows."""


class NumberedRows(NamedTuple):
    """Readable rows, each with its offset in the list, and whether the list ends with them."""

    rows: list[tuple[int, AgentOsSession]]
    ended: bool


class PageReader:
    """Reads pages of one list in one order. `failed` has the offsets of the rows that AgentOS failed on."""

    def __init__(self, fetch: Fetch, sort: Sort) -> None:
        self._fetch = fetch
        self._sort: Sort = sort
        self._has_read = False
        self.total: int | None = None
        self.failed: set[int] = set()

    async def read(self, page: int, size: int) -> NumberedRows:
        """Return the readable rows of a page, numbered from 0. Raise `ServerFailed` if too many rows are unreadable."""
        try:
            upstream = await self._fetch(self._sort, page + 1, size)
        except ServerFailed as error:
            if size > 1:
                return await self._read_parts(page, size)
            self._count_failure(page, error)
            return NumberedRows([], ended=False)
        self._has_read = True
        self.total = upstream.total
        return _number_rows(upstream, page, size)

    async def _read_parts(self, page: int, size: int) -> NumberedRows:
        parts = 2 if size % 2 == 0 else size
        rows: list[tuple[int, AgentOsSession]] = []
        for part in range(parts):
            numbered = await self.read(page * parts + part, size // parts)
            rows += numbered.rows
            if numbered.ended:
                return NumberedRows(rows, ended=True)
        return NumberedRows(rows, ended=False)

    def _count_failure(self, offset: int, error: ServerFailed) -> None:
        self.failed.add(offset)
        if len(self.failed) > _MAX_FAILED_ROWS:
            if not self._has_read:
                raise error
            raise ServerFailed(
                f"AgentOS failed on more than {_MAX_FAILED_ROWS} sessions of this list. Filter by type or agent_id, or "
                "ask the operator of AgentOS to repair or delete the sessions that it can't show."
            ) from error

    def failures_near(self, first: int, last: int) -> set[int]:
        """Return the failed offsets from `first` to `last`, and those directly before and after this range."""
        while first - 1 in self.failed:
            first -= 1
        while last + 1 in self.failed:
            last += 1
        return {offset for offset in self.failed if first <= offset <= last}


class UnsortedList(NamedTuple):
    """All readable sessions of a list, not ordered by time. `failed_count` is how many sessions AgentOS failed on."""

    rows: list[AgentOsSession]
    failed_count: int
    is_complete: bool
    """Whether it is certain that no session is missing except those that AgentOS failed on."""


async def read_all(fetch: Fetch, stops_at: float) -> UnsortedList | None:
    """Read a whole list in the order of ids, which is the same for every page size.

    Return None if the list is too long, or if it can't be read before `stops_at` (anyio's clock).
    """
    reader = PageReader(fetch, "id")
    sessions: dict[str, AgentOsSession] = {}
    totals: set[int | None] = set()
    count, page, ended = 0, 0, False
    try:
        while not ended:
            rows, ended = await reader.read(page, _PAGE)
            page += 1
            count += len(rows)
            sessions |= {row.id: row for _, row in rows}
            totals.add(reader.total)
            if (reader.total or count) > _MAX_ROWS or anyio.current_time() > stops_at:
                return None
    except (ServerFailed, TooLarge):
        return None
    failed_count = len(reader.failed)
    # If a session was read twice, or the length differs, the list changed during the read or its database can't sort by
    # id.
    is_complete = len(sessions) == count and totals == {count + failed_count}
    return UnsortedList(list(sessions.values()), failed_count, is_complete)


async def read_at_once(fetch: Fetch, first: int, last: int) -> NumberedRows | None:
    """Read the rows from `first` to `last` with one request, which may also return rows around them.

    Return None if AgentOS fails.
    """
    size = last - first + 1
    while first // size != last // size:
        size += 1
    page = first // size
    try:
        return _number_rows(await fetch("time", page + 1, size), page, size)
    except (ServerFailed, TooLarge):
        return None


def _number_rows(upstream: UpstreamPage, page: int, size: int) -> NumberedRows:
    """Return the rows of a page, which is numbered from 0, with their offsets in the list."""
    return NumberedRows(list(enumerate(upstream.rows, page * size)), len(upstream.rows) < size)
