"""Our own order over AgentOS's numbered pages, so that a walk has each session once.

Order: by time, and sessions of one second by a digest of their ids. AgentOS orders by time alone, so rows of one second
are read together before any of them is given out. A place in that order, with a hint at the upstream row it was at,
is all that a cursor needs: where rows were added or removed meanwhile, looking begins on an earlier page.

What the API can't give: a session that is removed between two requests of one call moves those behind it up by one,
so that one of them may be missed; and where a database orders equal times differently in two queries, one of a
second's sessions may be missed if that second lies across two pages.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from ...models import Order
from .._http import ServerFailed
from .wire import Stored

Fetch = Callable[[int, int], Awaitable[list[Stored]]]
"""Page, from 1, and its size → rows."""

_MOST_UNREADABLE = 3


class Key(NamedTuple):
    """Where a session stands; a smaller key comes first. `time` is negative where the newest does."""

    time: int
    digest: int


class Row(NamedTuple):
    key: Key
    stored: Stored
    place: int
    """Which row of the upstream list it was, from 0."""


@dataclass
class Findings:
    """What a walk met on its way: rows, and places of rows that AgentOS failed on."""

    rows: int = 0
    unreadable: list[int] = field(default_factory=list[int])


def key_of(stored: Stored, order: Order) -> Key:
    moment = stored.updated_at if order.startswith("updated") else stored.created_at
    time = max(int(moment.timestamp()), 0) if moment else 0
    name = blake2b(stored.id.encode(errors="backslashreplace"), digest_size=7)
    return Key(-time if order.endswith("desc") else time, int.from_bytes(name.digest()))


class Stream:
    """One upstream list, row by row, from behind a key, in pages of `size`."""

    def __init__(
        self, fetch: Fetch, order: Order, size: int, findings: Findings, *, after: Key | None, hint: int
    ) -> None:
        self._fetch = fetch
        self._order: Order = order
        self._size = size
        self._findings = findings
        self._after = after
        self._page = hint // size if after else 0
        self._started = after is None
        self._ended = False
        self._rows: list[Row] = []  # read, and sorted by time alone
        self._group: list[Row] = []  # of one second, sorted
        self._failed: set[int] = set()

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
            if not self._rows and self._ended:
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

    def _sort_a_second(self) -> None:
        time = self._rows[0].key.time
        count = next((place for place, row in enumerate(self._rows) if row.key.time != time), len(self._rows))
        same, self._rows = self._rows[:count], self._rows[count:]
        # What comes once more was moved to the next page by a row that was added.
        new = {row.key: row for row in same if self._after is None or row.key > self._after}
        self._group = [new[key] for key in sorted(new)]

    async def _read_page(self) -> None:
        found, self._ended = await self._readable(self._page, self._size)
        self._page += 1
        self._findings.rows += len(found)
        rows = [Row(key_of(stored, self._order), stored, place) for place, stored in found]
        again = {row.stored.id for row in rows if self._after is None or row.key > self._after}
        waiting = [row for row in self._rows if row.stored.id not in again]
        # What was moved here by rows that were added comes before what waits of the page before.
        self._rows = sorted(waiting + rows, key=lambda row: row.key.time)

    async def _readable(self, page: int, size: int) -> tuple[list[tuple[int, Stored]], bool]:
        """A page, from 0, and whether the list ends with it. One poisoned row makes AgentOS fail on its whole page."""
        try:
            rows = await self._fetch(page + 1, size)
        except ServerFailed:
            if size == 1 and page not in self._failed:
                self._failed.add(page)
                self._findings.unreadable.append(page)
            if len(self._findings.unreadable) > _MOST_UNREADABLE:
                raise
            if size == 1:
                return [], False
            return await self._readable_parts(page, size)
        return [(page * size + number, row) for number, row in enumerate(rows)], len(rows) < size

    async def _readable_parts(self, page: int, size: int) -> tuple[list[tuple[int, Stored]], bool]:
        parts = 2 if size % 2 == 0 else size
        found: list[tuple[int, Stored]] = []
        for part in range(parts):
            rows, ended = await self._readable(page * parts + part, size // parts)
            found += rows
            if ended:
                return found, True
        return found, False


class Merged:
    """Several streams of one order, as one."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

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
