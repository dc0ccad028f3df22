"""Getting one session with its state and counts."""

from datetime import UTC, datetime

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import NotFound
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    SessionFilter,
)

from .harness import Seed, System
from .operations import ADDRESSED
from .samples import WEATHER, moment

owed = pytest.mark.owes(Capability.GET_SESSION)


@owed
async def test_a_session_has_all_of_its_fields(system: System) -> None:
    state: JsonObject = {"step": 3, "done": False, "plan": {"next": ["a", None]}}
    session_id = await system.seed_one(
        Seed(
            name="Trip",
            type="agent",
            agent_id="planner",
            user_id="ann",
            state=state,
            metadata={"source": "web"},
            runs=WEATHER,
            moment=moment(7),
        )
    )
    session = await system.backend.get_session(session_id)
    assert (session.id, session.name, session.type) == (session_id, "Trip", "agent")
    assert (session.agent_id, session.user_id) == ("planner", "ann")
    assert (session.created_at, session.archived_at) == (moment(7), None)
    assert session.state == state
    assert session.metadata == {"source": "web"}
    assert session.message_count in (None, 6)
    assert session.run_count in (None, 2)


@owed
async def test_a_session_from_the_first_second_of_1970_has_the_same_times_in_a_list_and_alone(system: System) -> None:
    first_second = datetime.fromtimestamp(0, UTC)
    session_id = await system.seed_one(Seed(name="Old", moment=first_second))
    (listed,) = (await system.backend.list_sessions(SessionFilter())).sessions
    session = await system.backend.get_session(session_id)
    times = [listed.created_at, listed.updated_at]
    assert times == [session.created_at, session.updated_at]
    assert set(times) <= {first_second, None}


@owed
async def test_the_counts_of_an_empty_session_are_zero_or_left_out(system: System) -> None:
    session = await system.backend.get_session(await system.seed_one(Seed()))
    assert (session.name, session.state, session.metadata, session.summary) == ("", {}, {}, "")
    assert session.message_count in (None, 0)
    assert session.run_count in (None, 0)
    assert session.total_tokens in (None, 0)


@pytest.mark.owes(Capability.GET_SESSION, Capability.ARCHIVE_SESSION)
async def test_an_archived_session_can_be_read(system: System) -> None:
    await system.seed(Seed(name="Put away", archived=True))
    (listed,) = (await system.backend.list_sessions(SessionFilter(archived=True))).sessions
    session = await system.backend.get_session(listed.id)
    assert session.name == "Put away"
    assert session.archived_at == listed.archived_at is not None


@owed
async def test_a_complete_id_is_found_however_old_its_session_is(system: System) -> None:
    ids = await system.seed(*(Seed(name=f"number {place}", moment=moment(place)) for place in range(4)))
    for session_id in ids:
        assert session_id in await system.backend.find_session_ids(session_id, limit=2)
    assert set(await system.backend.find_session_ids(ids[0][:1])) == {id for id in ids if id[0] == ids[0][0]}
    assert await system.backend.find_session_ids(system.harness.absent_id) == []


@pytest.mark.owes_each(*ADDRESSED)
async def test_an_unknown_session_is_not_found(system: System, capability: Capability) -> None:
    await system.seed_one(Seed(name="Another"))
    with pytest.raises(NotFound, match=system.harness.absent_id):
        await ADDRESSED[capability](system.backend, system.harness.absent_id)
