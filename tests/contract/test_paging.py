"""Following next_cursor to the end yields each item once."""

from typing import get_args

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.models import NewMessage, Order, SearchHit, SearchPage, SessionFilter

from .harness import Seed, System
from .samples import WEATHER, exchanges, moment
from .walks import all_hits, all_runs, all_sessions, history_pages, oldest_first, walk

ORDERS: tuple[Order, ...] = get_args(Order)


@pytest.mark.owes(Capability.LIST_SESSIONS)
@pytest.mark.parametrize("order", ORDERS)
async def test_a_list_has_each_session_once_even_if_many_have_the_same_time(system: System, order: Order) -> None:
    ids = await system.seed(*(Seed(name=f"{number}", moment=moment(number // 3)) for number in range(8)))
    for limit in (1, 3, 8, 9):
        sessions = await all_sessions(system.backend, SessionFilter(order=order), limit)
        assert sorted(session.id for session in sessions) == sorted(ids)
        times = [session.updated_at for session in sessions if session.updated_at]
        assert times == sorted(times, reverse=order.endswith("desc"))


@pytest.mark.owes(Capability.LIST_SESSIONS)
@pytest.mark.parametrize("order", ORDERS)
async def test_a_list_has_each_session_once_while_others_are_created(system: System, order: Order) -> None:
    ids = await system.seed(*(Seed(name=f"{number}", moment=moment(number // 3)) for number in range(9)))
    listed: list[str] = []
    cursor = ""
    for _ in range(50):
        page = await system.backend.list_sessions(SessionFilter(order=order), limit=2, cursor=cursor)
        listed += [session.id for session in page.sessions]
        cursor = page.next_cursor
        if not cursor:
            break
        if len(listed) <= len(ids):
            await system.seed(Seed(name="new"), Seed(name="new, but long ago", moment=moment(0)))
    assert not cursor
    assert len(listed) == len(set(listed))
    assert set(listed) >= set(ids)


@pytest.mark.owes(Capability.LIST_SESSIONS)
async def test_a_list_can_be_continued_after_each_of_its_rows(system: System) -> None:
    await system.seed(*(Seed(name=f"{number}", moment=moment(number // 2)) for number in range(6)))
    page = await system.backend.list_sessions(SessionFilter(), limit=5)
    ids = [session.id for session in await all_sessions(system.backend, SessionFilter(), 10)]
    for place, session in enumerate(page.sessions):
        rest = await system.backend.list_sessions(SessionFilter(), limit=10, cursor=session.cursor)
        assert [other.id for other in rest.sessions] == ids[place + 1 :]


@pytest.mark.owes(Capability.SEARCH_SESSIONS)
async def test_a_search_can_be_continued_after_each_of_its_hits(system: System) -> None:
    await system.seed(*(Seed(name=f"question {number}", runs=exchanges(2)) for number in (1, 2)))
    page = await system.backend.search_sessions("question", limit=5)
    places = [_place(hit) for hit in await all_hits(system.backend, "question", 50)]
    for number, hit in enumerate(page.hits):
        rest = await system.backend.search_sessions("question", limit=50, cursor=hit.cursor)
        assert [_place(other) for other in rest.hits] == places[number + 1 :]


@pytest.mark.owes(Capability.LIST_SESSIONS)
async def test_a_filtered_list_has_each_match_once(system: System) -> None:
    seeds = [
        Seed(name=f"{'trip' if number % 2 else 'work'} {number}", agent_id=f"a{number % 3}", moment=moment(number // 4))
        for number in range(12)
    ]
    ids = await system.seed(*seeds)
    for filter, chosen in (
        (SessionFilter(query="TRIP"), [seed.name.startswith("trip") for seed in seeds]),
        (SessionFilter(agent_id="a1"), [seed.agent_id == "a1" for seed in seeds]),
        (SessionFilter(updated_after=moment(0)), [number >= 4 for number in range(12)]),
    ):
        expected = [session_id for session_id, is_chosen in zip(ids, chosen, strict=True) if is_chosen]
        assert sorted(session.id for session in await all_sessions(system.backend, filter, 2)) == sorted(expected)


@pytest.mark.owes(Capability.LIST_SESSIONS, Capability.ARCHIVE_SESSION)
async def test_the_archive_has_each_session_once(system: System) -> None:
    await system.seed(*(Seed(name=f"{number}", archived=number % 2 == 0) for number in range(10)))
    names = [session.name for session in await all_sessions(system.backend, SessionFilter(archived=True), 2)]
    assert sorted(names) == ["0", "2", "4", "6", "8"]


@pytest.mark.owes(Capability.GET_SESSION_HISTORY)
async def test_a_history_has_each_message_once(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(8)))
    expected = [message.text for run in exchanges(8) for message in run]
    for limit in (1, 2, 7):
        messages = oldest_first(await history_pages(system.backend, session_id, limit))
        assert [message.text for message in messages] == expected
        assert len({message.id for message in messages}) == 16


@pytest.mark.owes(Capability.GET_SESSION_HISTORY)
async def test_a_history_counts_each_message_that_it_leaves_out_once(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER * 3))
    for limit in (1, 2, 7):
        said = await history_pages(system.backend, session_id, limit)
        assert (len(oldest_first(said)), sum(page.omitted_messages for page in said)) == (12, 6)
        users = await history_pages(system.backend, session_id, limit, roles=("user",))
        assert (len(oldest_first(users)), sum(page.omitted_messages for page in users)) == (6, 12)
        everything = await history_pages(system.backend, session_id, limit, include_tools=True)
        assert (len(oldest_first(everything)), sum(page.omitted_messages for page in everything)) == (18, 0)


@pytest.mark.owes(Capability.GET_SESSION_HISTORY)
async def test_following_the_cursors_from_a_page_around_a_message_reaches_the_first_message(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(9)))
    everything = [message.id for message in oldest_first(await history_pages(system.backend, session_id, 200))]
    pages = await history_pages(system.backend, session_id, 4, around=everything[12])
    walked = [message.id for message in oldest_first(pages)]
    assert walked == everything[: len(walked)]
    assert everything[12] in [message.id for message in pages[0].messages]


@pytest.mark.owes(Capability.GET_SESSION_HISTORY, Capability.APPEND_MESSAGES)
async def test_a_history_has_each_message_once_while_others_are_appended(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(10)))
    texts: list[str] = []
    cursor = ""
    while True:
        page = await system.backend.get_session_history(session_id, limit=3, cursor=cursor)
        texts = [message.text for message in page.messages] + texts
        cursor = page.next_cursor
        if not cursor:
            break
        await system.backend.append_messages(session_id, [NewMessage(role="user", text="new")])
    assert texts == [message.text for run in exchanges(10) for message in run]


@pytest.mark.owes(Capability.GET_SESSION_RUNS)
async def test_a_list_of_runs_has_each_run_once(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(9)))
    for limit in (1, 2, 7, 9, 100):
        runs = await all_runs(system.backend, session_id, limit)
        assert [run.input for run in runs] == [f"question {turn}" for turn in range(9, 0, -1)]
        assert len({run.id for run in runs}) == 9


def _place(hit: SearchHit) -> tuple[str, str]:
    return hit.session_id, hit.message_id


@pytest.mark.owes(Capability.SEARCH_SESSIONS)
async def test_a_search_has_each_hit_once(system: System) -> None:
    await system.seed(*(Seed(name=f"question {number}", runs=exchanges(3)) for number in (1, 2, 3)))
    for limit in (1, 2, 7, 50):
        hits = await all_hits(system.backend, "question", limit)
        assert len({_place(hit) for hit in hits}) == len(hits) == 3 + 3 * 3
        assert len(await all_hits(system.backend, "question 3", limit)) == 1 + 3


@pytest.mark.owes(Capability.SEARCH_SESSIONS)
async def test_a_search_has_each_hit_once_while_others_are_added(system: System) -> None:
    await system.seed(*(Seed(name=f"question {number}", runs=exchanges(2)) for number in range(4)))
    before = {_place(hit) for hit in await all_hits(system.backend, "question", 50)}
    seeded = 0

    async def page_after_another(cursor: str) -> SearchPage:
        nonlocal seeded
        if cursor and seeded < 3:
            seeded += 1
            await system.seed(Seed(name="question again", runs=exchanges(1)))
        return await system.backend.search_sessions("question", limit=2, cursor=cursor)

    pages = await walk(page_after_another)
    walked = [_place(hit) for page in pages for hit in page.hits]
    assert len(walked) == len(set(walked))
    assert set(walked) >= before
