"""Read AgentOS's numbered pages around sessions that AgentOS fails on.

One row that AgentOS can't render (half of a surrogate pair, a name that is no string, a time in milliseconds) makes
AgentOS fail on every page that contains this row (HTTP 500), so a page that fails is read in parts.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import anyio

from ..http.client import ServerFailed, TooLarge
from .wire import Stored

_MOST_FAILED = 16
"""How many rows AgentOS may fail on before the list is given up. Each one costs some ten requests."""
_MOST_ROWS = 10_000
"""How long a list may be to be read whole. AgentOS needs some 0.3 ms for each row."""
_PAGE = 128

Sort = Literal["time", "reversed time", "id"]
"""By the time of the list's order, which several sessions may share, or by the session's id, which is unique."""


class UpstreamPage(NamedTuple):
    rows: list[Stored]
    total: int | None
    """The length of the whole list."""


Fetch = Callable[[Sort, int, int], Awaitable[UpstreamPage]]
"""Fetch a page: its order, its number (from 1), its size. Raises `ServerFailed` if AgentOS fails on one of its rows."""


class PlacedRows(NamedTuple):
    """Readable rows, each with its place in the list (from 0), and whether the list ends with them."""

    rows: list[tuple[int, Stored]]
    ended: bool


class PageReader:
    """Reads pages of one list in one order. `failed` has the places of the rows that AgentOS failed on."""

    def __init__(self, fetch: Fetch, sort: Sort) -> None:
        self._fetch = fetch
        self._sort: Sort = sort
        self._has_read = False
        self.total: int | None = None
        self.failed: set[int] = set()

    async def read(self, page: int, size: int) -> PlacedRows:
        """Return the readable rows of a page, numbered from 0. Raise `ServerFailed` if there are too many others."""
        try:
            found = await self._fetch(self._sort, page + 1, size)
        except ServerFailed as error:
            if size > 1:
                return await self._read_parts(page, size)
            self._count_failure(page, error)
            return PlacedRows([], ended=False)
        self._has_read = True
        self.total = found.total
        return PlacedRows(
            [(page * size + number, row) for number, row in enumerate(found.rows)], len(found.rows) < size
        )

    async def _read_parts(self, page: int, size: int) -> PlacedRows:
        parts = 2 if size % 2 == 0 else size
        rows: list[tuple[int, Stored]] = []
        for part in range(parts):
            found = await self.read(page * parts + part, size // parts)
            rows += found.rows
            if found.ended:
                return PlacedRows(rows, ended=True)
        return PlacedRows(rows, ended=False)

    def _count_failure(self, place: int, error: ServerFailed) -> None:
        self.failed.add(place)
        if len(self.failed) > _MOST_FAILED:
            if not self._has_read:
                raise error
            raise ServerFailed(
                f"AgentOS failed on more than {_MOST_FAILED} sessions of this list. Filter by type or agent_id, or ask "
                "whoever runs AgentOS to repair or delete the sessions that it can't show."
            ) from error

    def failures_near(self, first: int, last: int) -> set[int]:
        """Return the places of rows that AgentOS failed on from one place to another, right before and right behind."""
        while first - 1 in self.failed:
            first -= 1
        while last + 1 in self.failed:
            last += 1
        return {place for place in self.failed if first <= place <= last}


class WholeList(NamedTuple):
    """All readable sessions of a list, in no order of time."""

    rows: list[Stored]
    failed: int
    """How many sessions AgentOS failed on."""
    is_proven: bool
    """Whether `rows` and `failed` make up the whole list."""


async def read_all(fetch: Fetch, stops_at: float) -> WholeList | None:
    """Read a whole list in the order of ids, which is the same for every page size.

    Return None if the list is too long, or if it could not be read until `stops_at`.
    """
    reader = PageReader(fetch, "id")
    found: dict[str, Stored] = {}
    totals: set[int | None] = set()
    count, page, ended = 0, 0, False
    try:
        while not ended:
            rows, ended = await reader.read(page, _PAGE)
            page += 1
            count += len(rows)
            found |= {row.id: row for _, row in rows}
            totals.add(reader.total)
            if (reader.total or count) > _MOST_ROWS or anyio.current_time() > stops_at:
                return None
    except (ServerFailed, TooLarge):
        return None
    failed = len(reader.failed)
    # A session that comes twice, or another length, tells of a change meanwhile or of a database that can't sort by id.
    return WholeList(list(found.values()), failed, len(found) == count and totals == {count + failed})


async def read_at_once(fetch: Fetch, first: int, last: int) -> PlacedRows | None:
    """Read the rows between two places with one request, which may bring some around them; None if AgentOS fails."""
    size = last - first + 1
    while first // size != last // size:
        size += 1
    page = first // size
    try:
        found = await fetch("time", page + 1, size)
    except (ServerFailed, TooLarge):
        return None
    return PlacedRows([(page * size + number, row) for number, row in enumerate(found.rows)], len(found.rows) < size)
