"""Walks over AgentOS's pages while sessions are added, changed and removed."""

from math import inf

import anyio
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.backends.agentos.pages import SessionStream, SortKey, key_of
from mcp_sessions.models import Order

from ...support.agentos_upstream import CALLS, EVENTS, ORDERS, SIZE, TIMES, Event, Upstream, ids_of, stored, walk


@given(TIMES, CALLS, ORDERS)
def test_the_pages_of_a_list_have_every_session_once_and_in_order(
    times: list[int], calls: list[int], order: Order
) -> None:
    upstream = Upstream(ids_of(times), order)
    found = walk(upstream, calls=calls)
    assert found == sorted(upstream.times, key=lambda each: key_of(stored(each, upstream.times[each]), order))


@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 99)), max_size=30))
def test_sessions_created_or_changed_between_pages_hide_and_repeat_none(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = Upstream(ids_of(times), events=events)
    found = walk(upstream, calls=calls)
    assert len(found) == len(set(found))
    assert set(ids_of(times)) - upstream.touched <= set(found)


@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=12))
def test_sessions_deleted_between_pages_hide_and_repeat_none(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    upstream = Upstream(ids_of(times))

    def between() -> None:
        for event in events[:3]:
            upstream.happen(*event)
        del events[:3]

    found = walk(upstream, calls=calls, between=between)
    assert len(found) == len(set(found))
    assert set(ids_of(times)) - upstream.touched <= set(found)


@given(TIMES, CALLS, st.lists(st.tuples(st.sampled_from((*EVENTS, "remove")), st.integers(0, 99)), max_size=30))
def test_sessions_deleted_during_a_call_repeat_none(
    times: list[int], calls: list[int], events: list[tuple[Event, int]]
) -> None:
    found = walk(Upstream(ids_of(times), events=events), calls=calls)
    assert len(found) == len(set(found))


@given(TIMES, TIMES, TIMES, CALLS, ORDERS)
def test_the_lists_of_three_types_are_merged(
    agents: list[int], teams: list[int], workflows: list[int], calls: list[int], order: Order
) -> None:
    parts = [ids_of(times, prefix) for times, prefix in ((agents, "a"), (teams, "t"), (workflows, "w"))]
    every = {id: time for part in parts for id, time in part.items()}
    found = walk(*(Upstream(part, order) for part in parts), calls=calls)
    assert found == sorted(every, key=lambda each: key_of(stored(each, every[each]), order))


def test_a_position_far_down_the_list_is_found_with_few_requests() -> None:
    upstream = Upstream(ids_of(range(4000)))

    async def read(after: SortKey, hint: int) -> str:
        stream = SessionStream(upstream.fetch, "updated_desc", SIZE, after=after, hint=hint, stops_at=inf)
        row = await stream.peek()
        assert row is not None
        return row.session.id

    for number in (3000, 1000, 10):
        before = upstream.requests
        assert anyio.run(read, key_of(stored(f"s{number}", number), "updated_desc"), 4000 - number) == f"s{number - 1}"
        assert upstream.requests - before <= 4


def test_a_position_is_found_with_few_requests_after_many_deletions() -> None:
    upstream = Upstream(ids_of(range(4000)))
    for number in range(2000, 4000):
        del upstream.times[f"s{number}"]
    before = key_of(stored("s1000", 1000), "updated_desc")

    async def read() -> tuple[str, int]:
        stream = SessionStream(upstream.fetch, "updated_desc", SIZE, after=before, hint=3000, stops_at=inf)
        row = await stream.peek()
        assert row is not None
        return row.session.id, stream.row_count

    id, row_count = anyio.run(read)
    assert id == "s999"
    assert row_count < 3000
