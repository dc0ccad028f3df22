"""Creating sessions, appending messages and forking."""

from typing import get_args

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Invalid, NotFound, Unsupported
from mcp_sessions.models import HistoryQuery, NewMessage, Role, SessionFilter

from .harness import Seed, System
from .samples import WEATHER, exchanges

CREATE, APPEND, FORK = Capability.CREATE_SESSION, Capability.APPEND_MESSAGES, Capability.FORK_SESSION


async def _texts(system: System, session_id: str) -> list[str]:
    page = await system.backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)
    return [message.text for message in page.messages]


@pytest.mark.owes(CREATE)
async def test_a_created_session_has_the_values_it_was_created_with(system: System) -> None:
    created = await system.backend.create_session(
        name="Trip", type="team", agent_id="crew", state={"a": [1]}, metadata={"b": "c"}
    )
    assert (created.name, created.type, created.agent_id) == ("Trip", "team", "crew")
    assert (created.state, created.metadata) == ({"a": [1]}, {"b": "c"})
    assert await system.backend.get_session(created.id) == created
    assert [session.id for session in (await system.backend.list_sessions(SessionFilter())).sessions] == [created.id]
    assert (await system.backend.get_session_history(created.id)).messages == ()


@pytest.mark.owes(CREATE)
async def test_sessions_can_be_created_without_arguments_and_get_different_ids(system: System) -> None:
    created = [await system.backend.create_session() for _ in range(5)]
    assert len({session.id for session in created}) == 5
    assert all(session.type == "agent" for session in created)


@pytest.mark.owes(APPEND)
async def test_appended_messages_follow_the_others_in_order(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(1)))
    change = await system.backend.append_messages(
        session_id, [NewMessage(role="user", text="One"), NewMessage(role="assistant", text="Two")]
    )
    assert await _texts(system, session_id) == ["question 1", "answer 1", "One", "Two"]
    assert change.note
    assert change.version == (await system.backend.get_session(session_id)).version
    if "message_count" in change.changed:
        assert (change.previous["message_count"], change.changed["message_count"]) == (2, 4)


@pytest.mark.owes(APPEND)
@pytest.mark.parametrize("last", [[], ["\ud800"], ["fine", "half \udfff"]])
async def test_either_all_messages_are_appended_or_none(system: System, last: list[str]) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(1)))
    before = await system.snapshot(session_id)
    messages = [NewMessage(role="user", text=text) for text in last]
    with pytest.raises(Invalid):
        await system.backend.append_messages(session_id, messages)
    assert await system.snapshot(session_id) == before


@pytest.mark.owes(APPEND)
@pytest.mark.parametrize("role", get_args(Role))
async def test_messages_of_the_roles_that_a_backend_names_can_be_appended_and_no_others(
    system: System, role: Role
) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(1)))
    appending = system.backend.append_messages(session_id, [NewMessage(role=role, text="One")])
    if role in system.backend.appended_roles:
        await appending
        assert await _texts(system, session_id) == ["question 1", "answer 1", "One"]
    else:
        with pytest.raises(Unsupported):
            await appending


@pytest.mark.owes(FORK)
async def test_a_fork_copies_the_session_and_changes_independently(system: System) -> None:
    source = await system.seed_one(
        Seed(name="Trip", agent_id="planner", user_id="ann", state={"a": 1}, metadata={"b": 2}, runs=WEATHER)
    )
    before = await system.snapshot(source)
    fork = await system.backend.fork_session(source)
    assert fork.id != source
    assert (fork.agent_id, fork.user_id, fork.state, fork.metadata) == ("planner", "ann", {"a": 1}, {"b": 2})
    assert await _texts(system, fork.id) == [message.text for run in WEATHER for message in run]
    assert fork == await system.backend.get_session(fork.id)
    after = await system.snapshot(source)
    assert after[source] == before[source]


@pytest.mark.owes(FORK)
async def test_a_fork_can_end_at_a_message_and_get_a_name(system: System) -> None:
    source = await system.seed_one(Seed(name="Trip", runs=exchanges(3)))
    messages = (await system.backend.get_session_history(source)).messages
    fork = await system.backend.fork_session(source, up_to_message_id=messages[2].id, name="Another way")
    assert fork.name == "Another way"
    assert fork.message_count in (None, 3)
    assert await _texts(system, fork.id) == ["question 1", "answer 1", "question 2"]
    assert len(await _texts(system, source)) == 6


@pytest.mark.owes(FORK)
async def test_forking_up_to_an_unknown_message_is_not_found(system: System) -> None:
    source = await system.seed_one(Seed(runs=exchanges(1)))
    before = await system.snapshot(source)
    for message_id in ("m99", "nonsense", "\ud800"):
        with pytest.raises(NotFound, match="message"):
            await system.backend.fork_session(source, up_to_message_id=message_id)
    assert await system.snapshot(source) == before


@pytest.mark.owes(FORK, APPEND)
async def test_appending_to_a_fork_does_not_change_its_source(system: System) -> None:
    source = await system.seed_one(Seed(runs=exchanges(1)))
    fork = await system.backend.fork_session(source)
    await system.backend.append_messages(fork.id, [NewMessage(role="user", text="Only here")])
    assert await _texts(system, source) == ["question 1", "answer 1"]
    assert await _texts(system, fork.id) == ["question 1", "answer 1", "Only here"]
