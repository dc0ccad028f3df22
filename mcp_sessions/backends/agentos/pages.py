"""Our own order over AgentOS's numbered pages, so that a walk has each session once.

Order: by time, and sessions of one second by a digest of their ids. AgentOS orders by time alone, so sessions of one
second are read together before any of them is returned. A place in that order, with a hint at the upstream row that it
was at, is all that a cursor needs: if rows were added or removed meanwhile, reading begins on an earlier page.

PostgreSQL returns rows of one second in an order that differs between pages and page sizes. How many rows a second has
is certain all the same, because the list is sorted by time. If fewer sessions were found than that, or if AgentOS
failed on two rows or more that may be of this second, then a session may be missing: the second is read again with one
request, or row by row, or else the whole list is read in the order of ids, which is the same on every page.

What the API can't give: a session that is removed between two requests of one call moves those behind it up by one,
so that one of them may be missed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from typing import NamedTuple

from ...models import Order
from ..http.client import ServerFailed
from .page_reader import Fetch, PageReader, read_all, read_at_once
from .wire import Stored

_SHORT_SECOND = 16
"""How many rows of one second are read one by one."""


class Key(NamedTuple):
    """Where a session stands; a smaller key comes first. `time` is negative where the newest does."""

    time: int
    digest: int


class Row(NamedTuple):
    key: Key
    stored: Stored
    place: int
    """Which row of the upstream list it was, from 0."""


@dataclass(frozen=True)
class Findings:
    """What a walk met so far."""

    rows: int
    failed: int
    """How many sessions AgentOS failed on."""
    failed_places: Sequence[int]
    """Where those were in the lists, from 0, as far as it is known."""
    may_miss_sessions: bool
    """Whether a session may be missing that shares its second with one that AgentOS failed on."""


def key_of(stored: Stored, order: Order) -> Key:
    moment = stored.updated_at if order.startswith("updated") else stored.created_at
    time = max(int(moment.timestamp()), 0) if moment else 0
    name = blake2b(stored.id.encode(errors="backslashreplace"), digest_size=7)
    return Key(-time if order.endswith("desc") else time, int.from_bytes(name.digest()))


class Stream:
    """One upstream list, row by row, from behind a key, in pages of `size`."""

    def __init__(self, fetch: Fetch, order: Order, size: int, *, after: Key | None, hint: int, stops_at: float) -> None:
        self._fetch = fetch
        self._stops_at = stops_at
        self._reader = PageReader(fetch, "time")
        self._order: Order = order
        self._size = size
        self._after = after
        self._page = hint // size if after else 0
        self._started = after is None
        self._ended = False
        self._rows: list[Row] = []  # read, and sorted by time alone
        self._group: list[Row] = []  # of one second, sorted
        self._next_place = 0
        """Behind the last row that was in a group."""
        self.row_count = 0
        self.failed_places: set[int] = set()
        """The places of rows that AgentOS failed on, as far as the walk came."""
        self.failed_by_id: int | None = None
        """How many sessions of the whole list AgentOS failed on, if the whole list was read."""
        self.may_miss_sessions = False

    @property
    def failed_count(self) -> int:
        return len(self.failed_places) if self.failed_by_id is None else self.failed_by_id

    @property
    def hint(self) -> int:
        """Where to begin to look for what comes next."""
        return min((row.place for row in self._group or self._rows), default=self._page * self._size)

    async def peek(self) -> Row | None:
        """The next row; None at the end."""
        if not self._started:
            self._started = True
            await self._go_back()
        while not self._group:
            await self._read_a_second()
            await self._complete_second()
            if not self._rows:
                break
            self._sort_a_second()
        return self._group[0] if self._group else None

    def take(self) -> Row:
        """The row that `peek` showed."""
        row = self._group.pop(0)
        self._after = row.key
        return row

    async def _go_back(self) -> None:
        """Read the first page that begins before the key: rows before it may have been removed meanwhile."""
        step = 1
        while True:
            page = self._page
            await self._read_page()
            if page == 0 or self._after is None or (self._rows and self._rows[0].key.time < self._after.time):
                return
            self._page, self._rows, self._ended = max(page - step, 0), [], False
            step *= 2

    async def _read_a_second(self) -> None:
        """Read on until a row of another second comes."""
        while not self._ended and (not self._rows or self._rows[-1].key.time == self._rows[0].key.time):
            await self._read_page()

    async def _complete_second(self) -> None:
        """Find the sessions of the next second that are missing. Note it where they may still be."""
        second = self._next_second()
        if self.failed_by_id is not None or (second and self._after and second[0].key.time < self._after.time):
            return
        places = {row.place for row in second}
        first, last = min(places, default=self._next_place), max(places, default=self._next_place)
        failures = self._reader.failures_near(first, last)
        is_whole = len(failures) <= 1 and len({row.stored.id for row in second}) == len(places)
        is_whole = is_whole or (not failures and await self._read_second_at_once(second, first, last))
        is_whole = is_whole or await self._read_second_from_the_end(second, failures)
        self.failed_places |= self._reader.failures_near(first, last)
        if not is_whole:
            await self._read_whole_list()

    def _next_second(self) -> list[Row]:
        return list(takewhile(lambda row: row.key.time == self._rows[0].key.time, self._rows))

    async def _read_second_at_once(self, second: Sequence[Row], first: int, last: int) -> bool:
        """Read the rows at these places again. Return whether all of their second are among them."""
        found = await read_at_once(self._fetch, max(first - 1, 0), last + 1)
        rows = [Row(key_of(stored, self._order), stored, place) for place, stored in found.rows] if found else []
        if found is None or not rows:
            return False
        time = second[0].key.time
        begins = rows[0].place == 0 or rows[0].key.time < time
        ends = found.ended or rows[-1].key.time > time
        if begins and ends:
            self._replace_second(second, [row for row in rows if row.key.time == time])
        return begins and ends

    async def _read_second_from_the_end(self, second: Sequence[Row], failures: set[int]) -> bool:
        """Read the rows of a short second one by one, counted from the other end of the list.

        PostgreSQL sorts a whole list for a page of its second half, so that the order is the same for all of these.
        Return whether the sessions that were found are all that the second can have.
        """
        places = failures | {row.place for row in second}
        total = self._reader.total
        if not second or total is None or len(places) > _SHORT_SECOND:
            return False
        time = second[0].key.time
        found = {row.stored.id: row for row in second}
        failed = set(failures)
        for place in places:
            try:
                page = await self._fetch("reversed time", total - place, 1)
            except ServerFailed:
                failed.add(place)
                continue
            if page.total != total:
                return False  # sessions came or went meanwhile
            rows = [Row(key_of(stored, self._order), stored, place) for stored in page.rows]
            found |= {row.stored.id: row for row in rows if row.key.time == time}
        if len(found) != len(places) - bool(failed):
            return False
        # AgentOS failed on one session, which stood at other places in other pages.
        self.failed_places -= failures
        self._reader.failed -= failures
        self._reader.failed |= {max(failed)} if failed else set()
        self._replace_second(second, found.values())
        return True

    def _replace_second(self, second: Sequence[Row], rows: Collection[Row]) -> None:
        found = {row.stored.id for row in rows}
        self._rows = [*rows, *(row for row in self._rows[len(second) :] if row.stored.id not in found)]

    async def _read_whole_list(self) -> None:
        """Go on in the whole list, read in the order of ids; if that can't be had, with what was found."""
        whole = None if self.may_miss_sessions else await read_all(self._fetch, self._stops_at)
        if whole is None:
            self.may_miss_sessions = True
            return
        found = {row.stored.id: row.stored for row in self._rows} if not whole.is_proven else {}
        found |= {stored.id: stored for stored in whole.rows}
        keyed = sorted((key_of(stored, self._order), id) for id, stored in found.items())
        rows = [Row(key, found[id], place) for place, (key, id) in enumerate(keyed)]
        self._rows = [row for row in rows if self._after is None or row.key > self._after]
        self._ended = True
        self.failed_by_id = whole.failed
        self.may_miss_sessions = not whole.is_proven

    def _sort_a_second(self) -> None:
        same = self._next_second()
        self._rows = self._rows[len(same) :]
        self._next_place = max(row.place for row in same) + 1
        # A row that was moved to the next page by an added one comes twice.
        new = {row.key: row for row in same if self._after is None or row.key > self._after}
        self._group = [new[key] for key in sorted(new)]

    async def _read_page(self) -> None:
        found, self._ended = await self._reader.read(self._page, self._size)
        self._page += 1
        self.row_count += len(found)
        rows = [Row(key_of(stored, self._order), stored, place) for place, stored in found]
        again = {row.stored.id: row.key for row in rows if self._after is None or row.key > self._after}
        # A session that was changed meanwhile counts as it was read last.
        kept = [row for row in self._rows + rows if again.get(row.stored.id, row.key) == row.key]
        # What was moved here by rows that were added comes before what waits of the page before.
        self._rows = sorted(kept, key=lambda row: row.key.time)


class Merged:
    """Several streams of one order, as one."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    @property
    def findings(self) -> Findings:
        may_miss_sessions = any(stream.may_miss_sessions for stream in self._streams)
        is_placed = not may_miss_sessions and all(stream.failed_by_id is None for stream in self._streams)
        places = sorted(place for stream in self._streams for place in stream.failed_places)
        return Findings(
            rows=sum(stream.row_count for stream in self._streams),
            failed=sum(stream.failed_count for stream in self._streams),
            failed_places=places if is_placed else (),
            may_miss_sessions=may_miss_sessions,
        )

    @property
    def hints(self) -> tuple[int, ...]:
        return tuple(stream.hint for stream in self._streams)

    async def take(self, count: int) -> list[tuple[Row, tuple[int, ...]]]:
        """The next rows, each with the hints for going on behind it; fewer than `count` only at the end."""
        taken: list[tuple[Row, tuple[int, ...]]] = []
        while len(taken) < count:
            heads = [(row.key, number) for number, stream in enumerate(self._streams) if (row := await stream.peek())]
            if not heads:
                break
            stream = self._streams[min(heads)[1]]
            row = stream.take()
            taken.append((row, self.hints))
        return taken
