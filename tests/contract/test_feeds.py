"""What layers read of a backend: which sessions changed since a time, and a session's complete contents."""

import json
from datetime import timedelta

import pytest

from mcp_sessions.backends import feeds
from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.errors import NotFound
from mcp_sessions.models import Session, SessionFilter

from .harness import Seed, System
from .samples import WEATHER, exchanges, moment
from .walks import all_sessions, history_pages, oldest_first


async def all_listed(backend: SessionBackend) -> list[Session]:
    return [
        session
        for archived in (False, True)
        for session in await all_sessions(backend, SessionFilter(archived=archived), 100)
    ]


@pytest.mark.owes()
async def test_changes_without_a_time_are_all_sessions_newest_first(system: System) -> None:
    await system.seed(
        *(Seed(name=f"{minute}", archived=minute % 3 == 0, moment=moment(60 * minute)) for minute in range(8))
    )
    found = [session async for session in system.backend.changes(None)]
    assert sorted(session.id for session in found) == sorted(session.id for session in await all_listed(system.backend))
    times = [time for session in found if (time := session.updated_at or session.archived_at)]
    assert len(times) == 8
    assert times == sorted(times, reverse=True)


@pytest.mark.owes()
async def test_changes_since_a_time_leave_out_older_ones(system: System) -> None:
    await system.seed(*(Seed(name=f"{minute}", moment=moment(60 * minute)) for minute in range(5)))
    second = timedelta(seconds=1)
    for since in (moment(120) - second, moment(120), moment(120) + second):
        assert [session.name async for session in system.backend.changes(since)] == ["4", "3", "2"]
    assert [session.name async for session in system.backend.changes(moment(240) + 30 * second)] == []


@pytest.mark.owes()
async def test_changes_have_only_the_callers_sessions(system: System) -> None:
    mine, _ = await system.seed(Seed(user_id="ann"), Seed(user_id="ben"))
    if not system.backend.why_no_user_scoping():
        assert [session.id async for session in system.of("ann").changes(None)] == [mine]


@pytest.mark.owes(Capability.RENAME_SESSION)
async def test_a_session_that_changes_during_the_walk_is_yielded_once(system: System) -> None:
    await system.seed(*(Seed(name=f"{minute}", moment=moment(60 * minute)) for minute in range(7)))
    oldest, *rest = [session.id for session in reversed(await all_listed(system.backend))]
    walk = feeds.changes(system.backend, None, page_size=2)
    found = [await anext(walk)]
    await system.backend.rename_session(found[0].id, "seen already")
    await system.backend.rename_session(oldest, "not seen yet")
    found += [session async for session in walk]
    ids = [session.id for session in found]
    assert len(ids) == len(set(ids))
    assert set(rest) <= set(ids) <= {oldest, *rest}
    later = [session.id async for session in system.backend.changes(found[0].updated_at)]
    assert oldest in (*ids, *later)  # in `ids` if the system does not count a new name as an update


@pytest.mark.owes()
async def test_an_export_has_the_details_and_all_messages_with_tools(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip", runs=(*WEATHER, *exchanges(110))))
    export = await system.backend.export_session(session_id)
    pages = await history_pages(system.backend, session_id, 50, include_tools=True)
    assert export["messages"] == [message.model_dump(mode="json") for message in oldest_first(pages)]
    assert [message["role"] for message in export["messages"][:4]] == ["user", "assistant", "tool", "assistant"]
    assert len(export["messages"]) > 200
    session = (await system.backend.get_session(session_id)).model_dump(mode="json")
    assert export["session"] == {key: value for key, value in session.items() if key != "is_current"}
    assert json.loads(json.dumps(export)) == export


@pytest.mark.owes()
async def test_exporting_an_unknown_session_is_not_found(system: System) -> None:
    with pytest.raises(NotFound):
        await system.backend.export_session(system.harness.absent_id)
