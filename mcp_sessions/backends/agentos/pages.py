"""Our own order over AgentOS's numbered pages, so that a walk returns each session once.

AgentOS orders by time alone. We order by time, and rows with the same time (a group) by a digest of their ids, so a
group is read completely before any row of it is returned. A cursor has a key of that order, and a hint: the offset of
the upstream row. If rows before that one have been removed since then, reading begins on an earlier page.

PostgreSQL returns the rows of a group in an order that differs between pages and page sizes. The number of rows in a
group is certain nevertheless, because the list is sorted by time. If fewer sessions were found than that, or if AgentOS
failed on two or more rows that may be in the group, a session may be missing. The group is then read again with one
request, or row by row. If that fails, the whole list is read in the order of ids, which is the same on every page.

One gap remains: if a session is removed between two requests of one call, the sessions after it move up by one, and one
of them may be missed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from typing import NamedTuple

from ...models import Order
from ..http.client import ServerFailed
from .page_reader import Fetch, PageReader, read_all, read_at_once
from .wire import AgentOsSession

_MAX_REREAD_ROWS = 16
"""The largest group that is read again row by row."""


class SortKey(NamedTuple):
    """The position of a session in our order; a smaller key comes first. `time` is negative in descending orders."""

    time: int
    digest: int


class UpstreamRow(NamedTuple):
    """A session, its key, and the offset of its row in the upstream list."""

    key: SortKey
    session: AgentOsSession
    offset: int


@dataclass(frozen=True)
class WalkSummary:
    """How much a walk has read, and what is missing from it."""

    row_count: int
    failed_count: int
    """How many sessions AgentOS failed on."""
    failed_offsets: Sequence[int]
    """The offsets of these sessions in the upstream lists; empty if they are not known."""
    may_miss_sessions: bool
    """Whether further sessions may be missing, since a group could not be read completely."""


def key_of(session: AgentOsSession, order: Order) -> SortKey:
    """Return the key of a session in this order."""
    timestamp = session.updated_at if order.startswith("updated") else session.created_at
    time = max(int(timestamp.timestamp()), 0) if timestamp else 0
    digest = blake2b(session.id.encode(errors="backslashreplace"), digest_size=7).digest()
    return SortKey(-time if order.endswith("desc") else time, int.from_bytes(digest))


class SessionStream:
    """One upstream list after the key `after`, row by row, read in pages of `size`."""

    def __init__(
        self, fetch: Fetch, order: Order, size: int, *, after: SortKey | None, hint: int, stops_at: float
    ) -> None:
        self._fetch = fetch
        self._stops_at = stops_at
        self._reader = PageReader(fetch, "time")
        self._order: Order = order
        self._size = size
        self._after = after
        self._page = hint // size if after else 0
        self._started = after is None
        self._ended = False
        self._rows: list[UpstreamRow] = []
        """The rows ahead, sorted by time alone."""
        self._group: list[UpstreamRow] = []
        """The rest of the current group, sorted by key."""
        self._next_offset = 0
        """The offset after the last row that was in a group."""
        self.row_count = 0
        self.failed_offsets: set[int] = set()
        """The offsets of the rows read so far that AgentOS failed on."""
        self.failed_count_of_list: int | None = None
        """How many sessions of the whole list AgentOS failed on, if the whole list was read."""
        self.may_miss_sessions = False

    @property
    def failed_count(self) -> int:
        """How many sessions AgentOS failed on."""
        return len(self.failed_offsets) if self.failed_count_of_list is None else self.failed_count_of_list

    @property
    def hint(self) -> int:
        """The offset of the first row ahead."""
        return min((row.offset for row in self._group or self._rows), default=self._page * self._size)

    async def peek(self) -> UpstreamRow | None:
        """Return the next row; None at the end."""
        if not self._started:
            self._started = True
            await self._go_back()
        while not self._group:
            await self._read_group()
            await self._complete_group()
            if not self._rows:
                break
            self._sort_group()
        return self._group[0] if self._group else None

    def take(self) -> UpstreamRow:
        """Remove and return the row that `peek` returned."""
        row = self._group.pop(0)
        self._after = row.key
        return row

    async def _go_back(self) -> None:
        """Read the last page that begins before the key: rows before it may have been removed since."""
        step = 1
        while True:
            page = self._page
            await self._read_page()
            if page == 0 or self._after is None or (self._rows and self._rows[0].key.time < self._after.time):
                return
            self._page, self._rows, self._ended = max(page - step, 0), [], False
            step *= 2

    async def _read_group(self) -> None:
        """Read pages until the next group is followed by a row with another time."""
        while not self._ended and (not self._rows or self._rows[-1].key.time == self._rows[0].key.time):
            await self._read_page()

    async def _complete_group(self) -> None:
        """Find the sessions that paging missed in the next group.

        Set `may_miss_sessions` if some may still be missing.
        """
        group = self._next_group()
        if self.failed_count_of_list is not None or (group and self._after and group[0].key.time < self._after.time):
            return
        offsets = {row.offset for row in group}
        first, last = min(offsets, default=self._next_offset), max(offsets, default=self._next_offset)
        failures = self._reader.failures_near(first, last)
        is_complete = (
            (len(failures) <= 1 and len({row.session.id for row in group}) == len(offsets))
            or (not failures and await self._reread_group(group, first, last))
            or await self._reread_group_from_end(group, failures)
        )
        self.failed_offsets |= self._reader.failures_near(first, last)
        if not is_complete:
            await self._read_whole_list()

    def _next_group(self) -> list[UpstreamRow]:
        return list(takewhile(lambda row: row.key.time == self._rows[0].key.time, self._rows))

    async def _reread_group(self, group: Sequence[UpstreamRow], first: int, last: int) -> bool:
        """Read the rows at these offsets with one request. Return whether they contain the whole group."""
        numbered = await read_at_once(self._fetch, max(first - 1, 0), last + 1)
        rows = (
            [UpstreamRow(key_of(session, self._order), session, offset) for offset, session in numbered.rows]
            if numbered
            else []
        )
        if numbered is None or not rows:
            return False
        time = group[0].key.time
        has_begin = rows[0].offset == 0 or rows[0].key.time < time
        has_end = numbered.ended or rows[-1].key.time > time
        if has_begin and has_end:
            self._replace_group(group, [row for row in rows if row.key.time == time])
        return has_begin and has_end

    async def _reread_group_from_end(self, group: Sequence[UpstreamRow], failures: set[int]) -> bool:
        """Read the rows of a small group one by one, with offsets counted from the other end of the list.

        PostgreSQL sorts the whole list to return a page from its second half, so all of these requests see the same
        order. Return whether the group is complete.
        """
        offsets = failures | {row.offset for row in group}
        total = self._reader.total
        if not group or total is None or len(offsets) > _MAX_REREAD_ROWS:
            return False
        time = group[0].key.time
        found = {row.session.id: row for row in group}
        failed = set(failures)
        for offset in offsets:
            try:
                page = await self._fetch("reversed time", total - offset, 1)
            except ServerFailed:
                failed.add(offset)
                continue
            if page.total != total:
                return False  # sessions were added or removed meanwhile
            rows = [UpstreamRow(key_of(session, self._order), session, offset) for session in page.rows]
            found |= {row.session.id: row for row in rows if row.key.time == time}
        if len(found) != len(offsets) - bool(failed):
            return False
        # AgentOS failed on one session, at different offsets on different pages.
        self.failed_offsets -= failures
        self._reader.failed -= failures
        self._reader.failed |= {max(failed)} if failed else set()
        self._replace_group(group, found.values())
        return True

    def _replace_group(self, group: Sequence[UpstreamRow], rows: Collection[UpstreamRow]) -> None:
        """Replace the next group with these rows."""
        ids = {row.session.id for row in rows}
        self._rows = [*rows, *(row for row in self._rows[len(group) :] if row.session.id not in ids)]

    async def _read_whole_list(self) -> None:
        """Replace the rows ahead with the rest of the whole list, read in the order of ids.

        If it can't be read, keep the rows and set `may_miss_sessions`.
        """
        whole = None if self.may_miss_sessions else await read_all(self._fetch, self._stops_at)
        if whole is None:
            self.may_miss_sessions = True
            return
        sessions = {row.session.id: row.session for row in self._rows} if not whole.is_complete else {}
        sessions |= {session.id: session for session in whole.rows}
        keys = sorted((key_of(session, self._order), id) for id, session in sessions.items())
        rows = [UpstreamRow(key, sessions[id], offset) for offset, (key, id) in enumerate(keys)]
        self._rows = [row for row in rows if self._after is None or row.key > self._after]
        self._ended = True
        self.failed_count_of_list = whole.failed_count
        self.may_miss_sessions = not whole.is_complete

    def _sort_group(self) -> None:
        """Move the next group from the rows ahead to `_group`, without duplicates."""
        group = self._next_group()
        self._rows = self._rows[len(group) :]
        self._next_offset = max(row.offset for row in group) + 1
        # A row is read twice if another one was added, which moved it to the next page.
        new = {row.key: row for row in group if self._after is None or row.key > self._after}
        self._group = [new[key] for key in sorted(new)]

    async def _read_page(self) -> None:
        """Read the next page, and merge it into the rows ahead."""
        numbered, self._ended = await self._reader.read(self._page, self._size)
        self._page += 1
        self.row_count += len(numbered)
        rows = [UpstreamRow(key_of(session, self._order), session, offset) for offset, session in numbered]
        latest = {row.session.id: row.key for row in rows if self._after is None or row.key > self._after}
        # If a session was changed between two pages, the later row is kept.
        kept = [row for row in self._rows + rows if latest.get(row.session.id, row.key) == row.key]
        # Rows added between the two reads move earlier rows to this page, so the two pages must be sorted together.
        self._rows = sorted(kept, key=lambda row: row.key.time)


class MergedStream:
    """Several streams in the same order, merged into one."""

    def __init__(self, streams: Sequence[SessionStream]) -> None:
        self._streams = streams

    @property
    def summary(self) -> WalkSummary:
        """How much was read so far, and what is missing."""
        may_miss_sessions = any(stream.may_miss_sessions for stream in self._streams)
        has_offsets = not may_miss_sessions and all(stream.failed_count_of_list is None for stream in self._streams)
        offsets = sorted(offset for stream in self._streams for offset in stream.failed_offsets)
        return WalkSummary(
            row_count=sum(stream.row_count for stream in self._streams),
            failed_count=sum(stream.failed_count for stream in self._streams),
            failed_offsets=offsets if has_offsets else (),
            may_miss_sessions=may_miss_sessions,
        )

    @property
    def hints(self) -> tuple[int, ...]:
        """The hint of each stream."""
        return tuple(stream.hint for stream in self._streams)

    async def take(self, count: int) -> list[tuple[UpstreamRow, tuple[int, ...]]]:
        """Return the next `count` rows, or fewer at the end, each with the hints to continue after it."""
        taken: list[tuple[UpstreamRow, tuple[int, ...]]] = []
        while len(taken) < count:
            heads = [(row.key, number) for number, stream in enumerate(self._streams) if (row := await stream.peek())]
            if not heads:
                break
            stream = self._streams[min(heads)[1]]
            row = stream.take()
            taken.append((row, self.hints))
        return taken
