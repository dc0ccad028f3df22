"""Cursors that are malformed or belong to another call are refused."""

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.models import HistoryQuery, SessionFilter

from .harness import Seed, System
from .paged import PAGED, is_refused
from .samples import WEATHER, exchanges, moment

GARBAGE = [
    *(" ", "x", "0", "-1", "1", "1.2", "a.b", "a.b.c", ".", "..", "....", "null", "{}", "💥", "\0", "\ud800", "\n"),
    *("0" * 5000, "999999999999999999999999", "1e9", "' OR 1=1 --", "../../etc/passwd", "AAAA==", "٣.٣", "²"),
]


async def _seeded(system: System) -> str:
    session_id, *_ = await system.seed(
        *(Seed(name=f"question {number}", runs=exchanges(4), moment=moment(number)) for number in range(3))
    )
    return session_id


@pytest.mark.owes_each(*PAGED)
async def test_a_malformed_cursor_is_refused(system: System, capability: Capability) -> None:
    session_id = await _seeded(system)
    cursor = (await PAGED[capability](system.backend, session_id, "")).next_cursor
    near = [cursor + ".", "x" + cursor, cursor[:-1] + "x", cursor[::-1], cursor.upper() + " "]
    for garbage in GARBAGE + near:
        if garbage != cursor:
            await is_refused(PAGED[capability](system.backend, session_id, garbage), garbage)


@pytest.mark.owes_each(*PAGED)
async def test_a_cursor_of_another_operation_is_refused(system: System, capability: Capability) -> None:
    session_id = await _seeded(system)
    for other in system.harness.capabilities & set(PAGED) - {capability}:
        cursor = (await PAGED[other](system.backend, session_id, "")).next_cursor
        assert cursor
        await is_refused(PAGED[capability](system.backend, session_id, cursor), cursor)


@pytest.mark.owes_each(*PAGED)
async def test_a_cursor_can_be_used_again_and_with_another_limit(system: System, capability: Capability) -> None:
    session_id = await _seeded(system)
    cursor = (await PAGED[capability](system.backend, session_id, "")).next_cursor
    first = await PAGED[capability](system.backend, session_id, cursor)
    assert first == await PAGED[capability](system.backend, session_id, cursor)
    page = await system.backend.list_sessions(SessionFilter(), limit=1)
    rest = await system.backend.list_sessions(SessionFilter(), limit=50, cursor=page.next_cursor)
    assert len(rest.sessions) == 2


@pytest.mark.owes(Capability.LIST_SESSIONS)
@pytest.mark.parametrize(
    "other",
    [
        SessionFilter(query="question", order="updated_asc"),
        SessionFilter(query="question", order="created_desc"),
        SessionFilter(query="quest"),
        SessionFilter(query="question", type="agent"),
        SessionFilter(query="question", archived=True),
        SessionFilter(query="question", updated_after=moment(0)),
        SessionFilter(query="question", updated_before=moment(9)),
    ],
)
async def test_a_cursor_of_a_list_with_other_arguments_is_refused(system: System, other: SessionFilter) -> None:
    await _seeded(system)
    cursor = (await system.backend.list_sessions(SessionFilter(query="question"), limit=1)).next_cursor
    await is_refused(system.backend.list_sessions(other, limit=1, cursor=cursor), cursor)


@pytest.mark.owes(Capability.GET_SESSION_HISTORY)
async def test_a_cursor_of_a_history_with_other_arguments_is_refused(system: System) -> None:
    one, two = await system.seed(Seed(runs=WEATHER), Seed(runs=WEATHER))
    cursor = (await system.backend.get_session_history(one, limit=1)).next_cursor
    await is_refused(system.backend.get_session_history(two, limit=1, cursor=cursor), cursor)
    await is_refused(
        system.backend.get_session_history(one, HistoryQuery(roles=["user"]), limit=1, cursor=cursor), cursor
    )
    await is_refused(
        system.backend.get_session_history(one, HistoryQuery(include_tools=True), limit=1, cursor=cursor), cursor
    )


@pytest.mark.owes(Capability.GET_SESSION_RUNS)
async def test_a_cursor_of_the_runs_of_another_session_is_refused(system: System) -> None:
    one, two = await system.seed(Seed(runs=WEATHER), Seed(runs=WEATHER))
    cursor = (await system.backend.get_session_runs(one, limit=1)).next_cursor
    await is_refused(system.backend.get_session_runs(two, limit=1, cursor=cursor), cursor)


@pytest.mark.owes(Capability.SEARCH_SESSIONS)
async def test_a_cursor_of_a_search_with_another_query_is_refused(system: System) -> None:
    await _seeded(system)
    cursor = (await system.backend.search_sessions("question", limit=1)).next_cursor
    await is_refused(system.backend.search_sessions("answer", limit=1, cursor=cursor), cursor)
