"""A list of AgentOS in memory, which changes, shuffles and fails as a test wants it, and walks over such lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from random import Random
from typing import Literal

import anyio
from hypothesis import strategies as st

from mcp_sessions.backends.agentos.page_reader import Sort, UpstreamPage
from mcp_sessions.backends.agentos.pages import MergedStream, SessionStream, SortKey, WalkSummary
from mcp_sessions.backends.agentos.wire import AgentOsSession
from mcp_sessions.backends.http.client import ServerFailed, TooLarge
from mcp_sessions.models import Order

Event = Literal["nothing", "add", "add at once", "update", "remove"]
SIZE = 4
EVENTS: tuple[Event, ...] = ("nothing", "add", "add at once", "update")


@dataclass
class Upstream:
    """A list as AgentOS has one: by time alone, those of one second in any order, cut into numbered pages."""

    times: dict[str, int]
    order: Order = "updated_desc"
    poisoned: frozenset[str] = frozenset()
    shuffles_ties: bool = False
    """Whether the order of those of one second depends on page and size, as PostgreSQL's does."""
    most_rows: int | None = None
    """How many rows an answer may have before it is too large."""
    events: list[tuple[Event, int]] = field(default_factory=list[tuple[Event, int]])
    """What happens before the next request, up to "nothing", and before those after it."""
    touched: set[str] = field(default_factory=set[str])
    requests: int = 0

    def happen(self, event: Event, number: int) -> None:
        newest = max(self.times.values(), default=0)
        if event in ("add", "add at once"):
            self.times[f"new {len(self.touched)}"] = newest + (event == "add")
            self.touched.add(f"new {len(self.touched)}")
        elif event != "nothing" and self.times:
            chosen = sorted(self.times)[number % len(self.times)]
            self.touched.add(chosen)
            self.times.pop(chosen)
            if event == "update":
                self.times[chosen] = newest + 1

    async def fetch(self, sort: Sort, page: int, size: int) -> UpstreamPage:
        self.requests += 1
        while self.events:
            event, number = self.events.pop(0)
            if event == "nothing":
                break
            self.happen(event, number)
        ids = sorted(self.times) if sort == "id" else self._by_time(page * size, sort)
        ids = ids[(page - 1) * size : page * size]
        if self.poisoned.intersection(ids):
            raise ServerFailed("it failed")
        if self.most_rows is not None and len(ids) > self.most_rows:
            raise TooLarge("it answered too much")
        return UpstreamPage([stored(id, self.times[id]) for id in ids], len(self.times))

    def _by_time(self, bound: int, sort: Sort) -> list[str]:
        ids = list(self.times)
        if self.shuffles_ties:
            Random(f"{bound} {sort}").shuffle(ids)
        is_reversed = self.order.endswith("desc") != (sort == "reversed time")
        return sorted(ids, key=self.times.__getitem__, reverse=is_reversed)


def stored(id: str, time: int) -> AgentOsSession:
    timestamp = datetime.fromtimestamp(time, UTC)
    return AgentOsSession(
        id=id, name="", type="agent", agent_id="", user_id="", created_at=timestamp, updated_at=timestamp
    )


async def _walked(
    upstreams: Sequence[Upstream], calls: Sequence[int], between: Callable[[], None]
) -> tuple[list[str], list[WalkSummary]]:
    """Return the ids of a walk in calls of these sizes, the last of which takes the rest, and each call's summary."""
    after: SortKey | None = None
    hints = (0,) * len(upstreams)
    found: list[str] = []
    summaries: list[WalkSummary] = []
    for count in [*calls, 1000]:
        streams = [
            SessionStream(each.fetch, each.order, SIZE, after=after, hint=hint, stops_at=inf)
            for each, hint in zip(upstreams, hints, strict=True)
        ]
        merged = MergedStream(streams)
        rows = await merged.take(count)
        summaries.append(merged.summary)
        found += [row.session.id for row, _ in rows]
        if rows:
            after, hints = rows[-1][0].key, rows[-1][1]
        between()
    return found, summaries


def walk(*upstreams: Upstream, calls: Sequence[int] = (), between: Callable[[], None] = lambda: None) -> list[str]:
    return anyio.run(_walked, upstreams, calls, between)[0]


def walk_and_summaries(*upstreams: Upstream, calls: Sequence[int] = ()) -> tuple[list[str], list[WalkSummary]]:
    return anyio.run(_walked, upstreams, calls, lambda: None)


TIMES = st.lists(st.integers(1, 6), max_size=20)
CALLS = st.lists(st.integers(1, 7), max_size=5)
ORDERS = st.sampled_from(("updated_desc", "updated_asc", "created_desc", "created_asc"))


def ids_of(times: Sequence[int], prefix: str = "s") -> dict[str, int]:
    return {f"{prefix}{number}": time for number, time in enumerate(times)}
