"""Walks over AgentOS's pages around sessions that AgentOS fails on, and in lists with unstable orders."""

from collections.abc import Sequence
from math import inf

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.agentos import page_reader
from mcp_sessions.backends.agentos.pages import SessionStream, key_of
from mcp_sessions.backends.http.client import ServerFailed
from mcp_sessions.models import Order

from ...support.agentos_upstream import (
    CALLS,
    EVENTS,
    ORDERS,
    SIZE,
    TIMES,
    Event,
    Upstream,
    ids_of,
    stored,
    walk,
    walk_and_summaries,
)

POISONED = st.sets(st.integers(0, 20), max_size=5)


def _unkind(times: Sequence[int], poisoned: set[int], order: Order = "updated_desc") -> Upstream:
    ids = ids_of(times)
    return Upstream(ids, order, frozenset(f"s{number}" for number in poisoned) & set(ids), shuffles_ties=True)


@settings(max_examples=60, deadline=None)
@given(TIMES, CALLS, ORDERS)
def test_a_list_has_each_session_once_in_any_order_within_a_second(
    times: list[int], calls: list[int], order: Order
) -> None:
    upstream = _unkind(times, set(), order)
    found, summaries = walk_and_summaries(upstream, calls=calls)
    assert found == sorted(upstream.times, key=lambda each: key_of(stored(each, upstream.times[each]), order))
    assert not any(call.failed_count or call.may_miss_sessions for call in summaries)


@settings(max_examples=60, deadline=None)
@given(TIMES, POISONED, CALLS, ORDERS, st.booleans())
def test_the_sessions_around_failing_ones_are_found_once(
    times: list[int], poisoned: set[int], calls: list[int], order: Order, shuffles_ties: bool
) -> None:
    upstream = _unkind(times, poisoned, order)
    upstream.shuffles_ties = shuffles_ties
    found, summaries = walk_and_summaries(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert found == sorted(healthy, key=lambda each: key_of(stored(each, upstream.times[each]), order))
    assert not any(call.may_miss_sessions for call in summaries)
    assert max(call.failed_count for call in summaries) <= len(upstream.poisoned)
    assert any(call.failed_count for call in summaries) == bool(upstream.poisoned)


@settings(max_examples=60, deadline=None)
@given(TIMES, POISONED, CALLS)
def test_a_list_too_long_to_be_read_completely_says_that_sessions_may_be_missing(
    times: list[int], poisoned: set[int], calls: list[int]
) -> None:
    upstream = _unkind(times, poisoned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_reader, "_MAX_ROWS", 0)
        found, summaries = walk_and_summaries(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert len(found) == len(set(found))
    assert set(found) <= healthy
    assert set(found) == healthy or any(call.may_miss_sessions for call in summaries)


@settings(max_examples=60, deadline=None)
@given(TIMES, POISONED, CALLS)
def test_a_list_whose_larger_pages_are_refused_says_that_sessions_may_be_missing(
    times: list[int], poisoned: set[int], calls: list[int]
) -> None:
    upstream = _unkind(times, poisoned)
    upstream.most_rows = SIZE
    found, summaries = walk_and_summaries(upstream, calls=calls)
    healthy = set(upstream.times) - upstream.poisoned
    assert len(found) == len(set(found))
    assert set(found) <= healthy
    assert set(found) == healthy or any(call.may_miss_sessions for call in summaries)


@settings(max_examples=60, deadline=None)
@given(
    TIMES, POISONED, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=30)
)
def test_sessions_that_come_and_go_are_not_repeated_around_failing_ones(
    times: list[int], poisoned: set[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = _unkind(times, poisoned)
    upstream.events = events
    found = walk(upstream, calls=calls)
    assert len(found) == len(set(found))
    assert not upstream.poisoned.intersection(found)


def test_a_list_that_cannot_be_read_completely_in_time_says_that_sessions_may_be_missing() -> None:
    upstream = _unkind([1] * 12, {2, 7})

    async def read() -> SessionStream:
        stream = SessionStream(upstream.fetch, "updated_desc", SIZE, after=None, hint=0, stops_at=-inf)
        while await stream.peek():
            stream.take()
        return stream

    assert anyio.run(read).may_miss_sessions


@pytest.mark.slow
@given(st.lists(st.integers(1, 1000), unique=True, max_size=40), st.data())
def test_single_failing_sessions_are_located(times: list[int], data: st.DataObject) -> None:
    ids = ids_of(times)
    order = sorted(ids, key=ids.__getitem__, reverse=True)
    places = data.draw(st.sets(st.integers(0, len(order) // 3).map(lambda number: 3 * number), max_size=4))
    poisoned = frozenset(order[place] for place in places if place < len(order))
    upstream = Upstream(ids, poisoned=poisoned, shuffles_ties=True)
    _, (summary,) = walk_and_summaries(upstream)
    assert list(summary.failed_offsets) == sorted(order.index(id) for id in poisoned)
    assert summary.failed_count == len(poisoned)


@pytest.mark.parametrize("place", [0, 3, 4, 7, 8, 15])
def test_a_failing_session_is_counted_once_even_if_its_page_is_read_twice(place: int) -> None:
    order = [f"s{number}" for number in range(16)]
    upstream = Upstream({id: 1 if 2 < number < 14 else 2 - number for number, id in enumerate(order)})
    upstream.poisoned = frozenset({order[place]})

    async def read() -> SessionStream:
        stream = SessionStream(
            upstream.fetch, "updated_desc", SIZE, after=key_of(stored("s5", 1), "updated_desc"), hint=8, stops_at=inf
        )
        while await stream.peek():
            stream.take()
        return stream

    assert anyio.run(read).failed_count <= 1


def test_too_many_failing_sessions_end_the_list_with_an_error_early() -> None:
    upstream = Upstream(ids_of(range(400)), poisoned=frozenset(f"s{number}" for number in range(100, 400)))
    with pytest.raises(ServerFailed):
        walk(upstream)
    assert upstream.requests < 50
