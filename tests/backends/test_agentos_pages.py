"""A walk over AgentOS's pages while sessions come, change and go; and around those that it fails on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends._http import ServerFailed
from mcp_sessions.backends.agentos.pages import Findings, Key, Merged, Stream, key_of
from mcp_sessions.backends.agentos.wire import Stored
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

    async def fetch(self, page: int, size: int) -> list[Stored]:
        self.requests += 1
        while self.events:
            event, number = self.events.pop(0)
            if event == "nothing":
                break
            self.happen(event, number)
        ids = sorted(self.times, key=self.times.__getitem__, reverse=self.order.endswith("desc"))
        ids = ids[(page - 1) * size : page * size]
        if self.poisoned.intersection(ids):
            raise ServerFailed("it failed")
        return [_stored(id, self.times[id]) for id in ids]


def _stored(id: str, time: int) -> Stored:
    moment = datetime.fromtimestamp(time, UTC)
    return Stored(id=id, name="", type="agent", agent_id="", user_id="", created_at=moment, updated_at=moment)


async def _walked(
    upstreams: Sequence[Upstream], calls: Sequence[int], findings: Findings, between: Callable[[], None]
) -> list[str]:
    """The ids of a walk in calls that take so many each, the last of them all that is left."""
    after: Key | None = None
    hints = (0,) * len(upstreams)
    found: list[str] = []
    for count in [*calls, 1000]:
        streams = [
            Stream(each.fetch, each.order, SIZE, findings, after=after, hint=hint)
            for each, hint in zip(upstreams, hints, strict=True)
        ]
        rows = await Merged(streams).take(count)
        found += [row.stored.id for row, _ in rows]
        if rows:
            after, hints = rows[-1][0].key, rows[-1][1]
        between()
    return found


def walk(
    *upstreams: Upstream,
    calls: Sequence[int] = (),
    findings: Findings | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[str]:
    return anyio.run(_walked, upstreams, calls, findings or Findings(), between)


TIMES = st.lists(st.integers(1, 6), max_size=20)
CALLS = st.lists(st.integers(1, 7), max_size=5)
ORDERS = st.sampled_from(("updated_desc", "updated_asc", "created_desc", "created_asc"))


def _ids(times: Sequence[int], prefix: str = "s") -> dict[str, int]:
    return {f"{prefix}{number}": time for number, time in enumerate(times)}


@given(TIMES, CALLS, ORDERS)
def test_a_walk_has_every_session_once_and_in_order(times: list[int], calls: list[int], order: Order) -> None:
    upstream = Upstream(_ids(times), order)
    found = walk(upstream, calls=calls)
    assert found == sorted(upstream.times, key=lambda each: key_of(_stored(each, upstream.times[each]), order))


@settings(max_examples=300)
@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 99)), max_size=30))
def test_what_comes_or_changes_meanwhile_hides_and_doubles_nothing(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = Upstream(_ids(times), events=events)
    found = walk(upstream, calls=calls)
    assert len(found) == len(set(found))
    assert set(_ids(times)) - upstream.touched <= set(found)


@settings(max_examples=300)
@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=12))
def test_what_goes_between_two_calls_hides_and_doubles_nothing(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = Upstream(_ids(times))

    def between() -> None:
        for event in events[:3]:
            upstream.happen(*event)
        del events[:3]

    found = walk(upstream, calls=calls, between=between)
    assert len(found) == len(set(found))
    assert set(_ids(times)) - upstream.touched <= set(found)


@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=30))
def test_what_goes_within_a_call_doubles_nothing(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    found = walk(Upstream(_ids(times), events=events), calls=calls)
    assert len(found) == len(set(found))


@given(TIMES, TIMES, TIMES, CALLS, ORDERS)
def test_three_lists_are_walked_as_one(
    agents: list[int], teams: list[int], workflows: list[int], calls: list[int], order: Order
) -> None:
    parts = [_ids(times, prefix) for times, prefix in ((agents, "a"), (teams, "t"), (workflows, "w"))]
    every = {id: time for part in parts for id, time in part.items()}
    found = walk(*(Upstream(part, order) for part in parts), calls=calls)
    assert found == sorted(every, key=lambda each: key_of(_stored(each, every[each]), order))


@settings(max_examples=300)
@given(TIMES, st.sets(st.integers(0, 20), max_size=3))
def test_what_agentos_fails_on_is_left_out_and_told_once(times: list[int], poisoned: set[int]) -> None:
    upstream = Upstream(_ids(times), poisoned=frozenset(f"s{number}" for number in poisoned) & set(_ids(times)))
    findings = Findings()
    found = walk(upstream, findings=findings)
    assert set(found) == set(upstream.times) - upstream.poisoned
    order = sorted(upstream.times, key=upstream.times.__getitem__, reverse=True)
    assert sorted(findings.unreadable) == sorted(order.index(id) for id in upstream.poisoned)


@pytest.mark.parametrize("place", [0, 3, 4, 7, 8, 15])
def test_one_that_fails_is_told_once_though_its_page_is_looked_at_twice(place: int) -> None:
    order = [f"s{number}" for number in range(16)]
    upstream = Upstream({id: 1 if 2 < number < 14 else 2 - number for number, id in enumerate(order)})
    upstream.poisoned = frozenset({order[place]})
    after = key_of(_stored("s5", 1), "updated_desc")
    findings = Findings()

    async def read() -> None:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, findings, after=after, hint=8)
        while await stream.peek():
            stream.take()

    anyio.run(read)
    assert len(findings.unreadable) == len(set(findings.unreadable))


def test_more_than_three_that_fail_are_a_failure_soon() -> None:
    upstream = Upstream(_ids(range(400)), poisoned=frozenset(f"s{number}" for number in range(100, 400)))
    with pytest.raises(ServerFailed):
        walk(upstream)
    assert upstream.requests < 15


def test_a_place_far_down_is_found_with_few_requests() -> None:
    upstream = Upstream(_ids(range(4000)))
    findings = Findings()

    async def read(after: Key, hint: int) -> str:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, findings, after=after, hint=hint)
        row = await stream.peek()
        assert row is not None
        return row.stored.id

    for number in (3000, 1000, 10):
        before = upstream.requests
        assert anyio.run(read, key_of(_stored(f"s{number}", number), "updated_desc"), 4000 - number) == f"s{number - 1}"
        assert upstream.requests - before <= 4


def test_after_many_were_removed_a_place_is_found_with_few_requests() -> None:
    upstream = Upstream(_ids(range(4000)))
    for number in range(2000, 4000):
        del upstream.times[f"s{number}"]
    before = key_of(_stored("s1000", 1000), "updated_desc")
    findings = Findings()

    async def read() -> str:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, findings, after=before, hint=3000)
        row = await stream.peek()
        assert row is not None
        return row.stored.id

    assert anyio.run(read) == "s999"
    assert findings.rows < 3000
