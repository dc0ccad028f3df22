"""A walk over AgentOS's pages while sessions come, change and go; and around those that it fails on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from random import Random
from typing import Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends._http import ServerFailed, TooLarge
from mcp_sessions.backends.agentos import page_reader
from mcp_sessions.backends.agentos.page_reader import Sort, UpstreamPage
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
        return UpstreamPage([_stored(id, self.times[id]) for id in ids], len(self.times))

    def _by_time(self, bound: int, sort: Sort) -> list[str]:
        ids = list(self.times)
        if self.shuffles_ties:
            Random(f"{bound} {sort}").shuffle(ids)
        is_reversed = self.order.endswith("desc") != (sort == "reversed time")
        return sorted(ids, key=self.times.__getitem__, reverse=is_reversed)


def _stored(id: str, time: int) -> Stored:
    moment = datetime.fromtimestamp(time, UTC)
    return Stored(id=id, name="", type="agent", agent_id="", user_id="", created_at=moment, updated_at=moment)


async def _walked(
    upstreams: Sequence[Upstream], calls: Sequence[int], between: Callable[[], None]
) -> tuple[list[str], list[Findings]]:
    """The ids of a walk in calls that take so many each, the last of them all that is left, and what each met."""
    after: Key | None = None
    hints = (0,) * len(upstreams)
    found: list[str] = []
    findings: list[Findings] = []
    for count in [*calls, 1000]:
        streams = [
            Stream(each.fetch, each.order, SIZE, after=after, hint=hint, stops_at=inf)
            for each, hint in zip(upstreams, hints, strict=True)
        ]
        merged = Merged(streams)
        rows = await merged.take(count)
        findings.append(merged.findings)
        found += [row.stored.id for row, _ in rows]
        if rows:
            after, hints = rows[-1][0].key, rows[-1][1]
        between()
    return found, findings


def walk(*upstreams: Upstream, calls: Sequence[int] = (), between: Callable[[], None] = lambda: None) -> list[str]:
    return anyio.run(_walked, upstreams, calls, between)[0]


def walk_and_findings(*upstreams: Upstream, calls: Sequence[int] = ()) -> tuple[list[str], list[Findings]]:
    return anyio.run(_walked, upstreams, calls, lambda: None)


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


POISONED = st.sets(st.integers(0, 20), max_size=5)


def _unkind(times: Sequence[int], poisoned: set[int], order: Order = "updated_desc") -> Upstream:
    ids = _ids(times)
    return Upstream(ids, order, frozenset(f"s{number}" for number in poisoned) & set(ids), shuffles_ties=True)


@settings(max_examples=200)
@given(TIMES, CALLS, ORDERS)
def test_a_walk_has_every_session_once_whatever_the_order_within_a_second(
    times: list[int], calls: list[int], order: Order
) -> None:
    upstream = _unkind(times, set(), order)
    found, findings = walk_and_findings(upstream, calls=calls)
    assert found == sorted(upstream.times, key=lambda each: key_of(_stored(each, upstream.times[each]), order))
    assert not any(call.failed or call.may_miss_sessions for call in findings)


@settings(max_examples=200)
@given(TIMES, POISONED, CALLS, ORDERS)
def test_every_other_session_is_found_once_around_those_that_agentos_fails_on(
    times: list[int], poisoned: set[int], calls: list[int], order: Order
) -> None:
    upstream = _unkind(times, poisoned, order)
    found, findings = walk_and_findings(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert found == sorted(healthy, key=lambda each: key_of(_stored(each, upstream.times[each]), order))
    assert not any(call.may_miss_sessions for call in findings)
    assert max(call.failed for call in findings) <= len(upstream.poisoned)
    assert any(call.failed for call in findings) == bool(upstream.poisoned)


@settings(max_examples=200)
@given(TIMES, POISONED, CALLS)
def test_where_a_list_is_too_long_to_be_read_whole_no_session_is_missing_silently(
    times: list[int], poisoned: set[int], calls: list[int]
) -> None:
    upstream = _unkind(times, poisoned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_reader, "_MOST_ROWS", 0)
        found, findings = walk_and_findings(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert len(found) == len(set(found))
    assert set(found) <= healthy
    assert set(found) == healthy or any(call.may_miss_sessions for call in findings)


@settings(max_examples=200)
@given(TIMES, POISONED, CALLS)
def test_where_larger_pages_are_too_large_no_session_is_missing_silently(
    times: list[int], poisoned: set[int], calls: list[int]
) -> None:
    upstream = _unkind(times, poisoned)
    upstream.most_rows = SIZE
    found, findings = walk_and_findings(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert len(found) == len(set(found))
    assert set(found) <= healthy
    assert set(found) == healthy or any(call.may_miss_sessions for call in findings)


@settings(max_examples=200)
@given(
    TIMES, POISONED, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=30)
)
def test_what_comes_and_goes_meanwhile_doubles_nothing_around_those_that_agentos_fails_on(
    times: list[int], poisoned: set[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = _unkind(times, poisoned)
    upstream.events = events
    found = walk(upstream, calls=calls)
    assert len(found) == len(set(found))
    assert not upstream.poisoned.intersection(found)


def test_a_list_that_cannot_be_read_whole_in_time_says_that_sessions_may_be_missing() -> None:
    upstream = _unkind([1] * 12, {2, 7})

    async def read() -> Stream:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, after=None, hint=0, stops_at=-inf)
        while await stream.peek():
            stream.take()
        return stream

    assert anyio.run(read).may_miss_sessions


@given(st.lists(st.integers(1, 1000), unique=True, max_size=40), st.data())
def test_the_places_of_single_sessions_that_agentos_fails_on_are_known(times: list[int], data: st.DataObject) -> None:
    ids = _ids(times)
    order = sorted(ids, key=ids.__getitem__, reverse=True)
    places = data.draw(st.sets(st.integers(0, len(order) // 3).map(lambda number: 3 * number), max_size=4))
    poisoned = frozenset(order[place] for place in places if place < len(order))
    upstream = Upstream(ids, poisoned=poisoned, shuffles_ties=True)
    _, (findings,) = walk_and_findings(upstream)
    assert list(findings.failed_places) == sorted(order.index(id) for id in poisoned)
    assert findings.failed == len(poisoned)


@pytest.mark.parametrize("place", [0, 3, 4, 7, 8, 15])
def test_one_that_fails_is_counted_once_though_its_page_is_looked_at_twice(place: int) -> None:
    order = [f"s{number}" for number in range(16)]
    upstream = Upstream({id: 1 if 2 < number < 14 else 2 - number for number, id in enumerate(order)})
    upstream.poisoned = frozenset({order[place]})

    async def read() -> Stream:
        stream = Stream(
            upstream.fetch, "updated_desc", SIZE, after=key_of(_stored("s5", 1), "updated_desc"), hint=8, stops_at=inf
        )
        while await stream.peek():
            stream.take()
        return stream

    assert anyio.run(read).failed_count <= 1


def test_far_too_many_that_fail_are_a_failure_soon() -> None:
    upstream = Upstream(_ids(range(400)), poisoned=frozenset(f"s{number}" for number in range(100, 400)))
    with pytest.raises(ServerFailed):
        walk(upstream)
    assert upstream.requests < 50


def test_a_place_far_down_is_found_with_few_requests() -> None:
    upstream = Upstream(_ids(range(4000)))

    async def read(after: Key, hint: int) -> str:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, after=after, hint=hint, stops_at=inf)
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

    async def read() -> tuple[str, int]:
        stream = Stream(upstream.fetch, "updated_desc", SIZE, after=before, hint=3000, stops_at=inf)
        row = await stream.peek()
        assert row is not None
        return row.stored.id, stream.row_count

    id, row_count = anyio.run(read)
    assert id == "s999"
    assert row_count < 3000
