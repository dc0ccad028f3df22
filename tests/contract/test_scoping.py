"""A caller who is limited to a user can't see that other sessions exist."""

from collections.abc import Awaitable
from typing import get_args

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import NotFound
from mcp_sessions.models import BulkAction, HistoryQuery, NewMessage, SessionFilter

from .harness import Seed, System
from .operations import ADDRESSED
from .paged import PAGED, is_refused
from .samples import WEATHER, exchanges, moment
from .walks import all_hits, all_sessions

BULK = Capability.APPLY_TO_SESSIONS
ACTIONS: tuple[BulkAction, ...] = get_args(BulkAction)


async def _refusal(call: Awaitable[object], session_id: str) -> str:
    """Return the error's text with the id replaced."""
    with pytest.raises(NotFound) as refusal:
        await call
    assert session_id in refusal.value.text
    return refusal.value.text.replace(session_id, "ID")


@pytest.mark.owes_each(*ADDRESSED)
async def test_a_session_of_another_user_is_not_found(system: System, capability: Capability) -> None:
    _, listed, full = await system.seed(
        Seed(user_id="ann", name="Mine"),
        Seed(user_id="ben", name="Theirs"),
        Seed(user_id="ben", name="Theirs too", runs=WEATHER, state={"a": 0}, metadata={"a": 0}),
    )
    before = await system.snapshot(listed, full)
    ann, call = system.of("ann"), ADDRESSED[capability]
    absent = await _refusal(call(ann, system.harness.absent_id), system.harness.absent_id)
    for foreign in (listed, full):
        assert await _refusal(call(ann, foreign), foreign) == absent
    assert await system.snapshot(listed, full) == before


@pytest.mark.owes_each(*ADDRESSED, given=[Capability.ARCHIVE_SESSION])
async def test_an_archived_session_of_another_user_is_not_found(system: System, capability: Capability) -> None:
    await system.seed(Seed(user_id="ben", name="Theirs", archived=True))
    (archived,) = (await system.backend.list_sessions(SessionFilter(archived=True))).sessions
    ann, call = system.of("ann"), ADDRESSED[capability]
    absent = await _refusal(call(ann, system.harness.absent_id), system.harness.absent_id)
    assert await _refusal(call(ann, archived.id), archived.id) == absent


@pytest.mark.owes(Capability.DELETE_SESSION, Capability.RESTORE_SESSION)
async def test_a_deleted_session_of_another_user_is_not_found(system: System) -> None:
    deleted = await system.seed_one(Seed(user_id="ben", name="Theirs"))
    await system.backend.delete_session(deleted)
    ann = system.of("ann")
    for capability in system.harness.capabilities & set(ADDRESSED):
        call = ADDRESSED[capability]
        absent = await _refusal(call(ann, system.harness.absent_id), system.harness.absent_id)
        assert await _refusal(call(ann, deleted), deleted) == absent


@pytest.mark.owes(Capability.GET_SESSION_HISTORY)
async def test_messages_and_runs_of_another_users_session_are_not_found(system: System) -> None:
    foreign = await system.seed_one(Seed(user_id="ben", runs=exchanges(5)))
    page = await system.backend.get_session_history(foreign, limit=2)
    ann, absent_id = system.of("ann"), system.harness.absent_id
    absent = await _refusal(ann.get_session_history(absent_id), absent_id)
    message_id = page.messages[0].id
    assert await _refusal(ann.get_session_history(foreign, HistoryQuery(message_id=message_id)), foreign) == absent
    assert await _refusal(ann.get_session_history(foreign, HistoryQuery(message_id="nonsense")), foreign) == absent
    assert await _refusal(ann.get_session_history(foreign, HistoryQuery(around=message_id)), foreign) == absent
    assert await _refusal(ann.get_session_history(foreign, cursor=page.next_cursor), foreign) == absent
    assert await _refusal(ann.get_session_history(foreign, cursor="nonsense"), foreign) == absent


@pytest.mark.owes(Capability.GET_SESSION)
async def test_completion_offers_no_ids_of_other_users(system: System) -> None:
    mine, foreign = await system.seed(Seed(user_id="ann", name="Mine"), Seed(user_id="ben", name="Theirs"))
    ann = system.of("ann")
    assert await ann.find_session_ids(mine) == [mine]
    for length in range(1, len(foreign) + 1):
        assert foreign not in await ann.find_session_ids(foreign[:length])


@pytest.mark.owes(Capability.LIST_SESSIONS)
async def test_users_list_and_count_only_their_own_sessions(system: System) -> None:
    users = ["ann", "ben", "Ann", "an", "ann%", "ann_", "*", "' OR ''='", "ann,ben", "анна"]
    await system.seed(
        *(
            Seed(user_id=user, name=f"of {user}", agent_id="planner", moment=moment(1))
            for user in users
            for _ in range(2)
        ),
        Seed(name="of nobody", agent_id="planner"),
    )
    for user in users:
        for filter in (SessionFilter(), SessionFilter(query="of"), SessionFilter(agent_id="planner")):
            sessions = await all_sessions(system.of(user), filter, 1)
            assert [(session.user_id, session.name) for session in sessions] == [(user, f"of {user}")] * 2
            assert (await system.of(user).list_sessions(filter)).total in (None, 2)
    assert await all_sessions(system.of("nobody"), SessionFilter(), 2) == []
    assert len(await all_sessions(system.backend, SessionFilter(), 10)) == 21


@pytest.mark.owes(Capability.LIST_SESSIONS, Capability.ARCHIVE_SESSION)
async def test_users_list_only_their_own_archived_sessions(system: System) -> None:
    await system.seed(
        Seed(user_id="ann", name="Mine", archived=True), Seed(user_id="ben", name="Theirs", archived=True)
    )
    page = await system.of("ann").list_sessions(SessionFilter(archived=True))
    assert [session.name for session in page.sessions] == ["Mine"]


@pytest.mark.owes(Capability.SEARCH_SESSIONS)
async def test_users_search_only_their_own_sessions(system: System) -> None:
    users = ["ann", "ben", "Ann", "an*", '"', "owner", "ann OR ben"]
    await system.seed(*(Seed(user_id=user, name="common", runs=exchanges(1)) for user in users), Seed(name="common"))
    for user in users:
        own = {session.id for session in await all_sessions(system.of(user), SessionFilter(), 10)}
        for query in ("common", "question", "answer 1", "que*"):
            hits = await all_hits(system.of(user), query, 1)
            assert {hit.session_id for hit in hits} == own
    assert (await system.of("nobody").search_sessions("common")).hits == ()
    assert len(await all_hits(system.backend, "common", 3)) == len(users) + 1


@pytest.mark.owes_each(*PAGED)
async def test_a_cursor_of_another_caller_shows_none_of_that_callers_sessions(
    system: System, capability: Capability
) -> None:
    mine, *_ = await system.seed(*(Seed(user_id="ann", name="question", runs=exchanges(4)) for _ in range(3)))
    theirs, *_ = await system.seed(*(Seed(user_id="ben", name="question", runs=exchanges(4)) for _ in range(3)))
    cursor = (await PAGED[capability](system.of("ben"), theirs, "")).next_cursor
    assert cursor
    await is_refused(PAGED[capability](system.of("ann"), mine, cursor), cursor)


@pytest.mark.owes(Capability.CREATE_SESSION)
async def test_a_created_session_belongs_to_the_caller(system: System) -> None:
    created = await system.of("ann").create_session(name="Mine")
    assert created.user_id == "ann"
    with pytest.raises(NotFound):
        await system.of("ben").get_session(created.id)
    assert (await system.backend.get_session(created.id)).user_id == "ann"


@pytest.mark.owes(Capability.FORK_SESSION)
async def test_a_fork_belongs_to_the_user_of_its_source(system: System) -> None:
    source = await system.seed_one(Seed(user_id="ann", name="Mine", agent_id="planner", runs=WEATHER))
    for backend in (system.backend, system.of("ann")):
        fork = await backend.fork_session(source)
        assert fork.user_id == "ann"
        with pytest.raises(NotFound):
            await system.of("ben").get_session(fork.id)


@pytest.mark.owes(BULK)
@pytest.mark.parametrize("is_rehearsal", [True, False])
@pytest.mark.parametrize("action", ACTIONS)
async def test_bulk_actions_do_not_change_sessions_of_other_users(
    system: System, action: BulkAction, is_rehearsal: bool
) -> None:
    foreign = await system.seed(Seed(user_id="ben", name="Theirs"), Seed(user_id="ben", name="Theirs too"))
    before = await system.snapshot(*foreign)
    ids = [*foreign, system.harness.absent_id]
    result = await system.of("ann").apply_to_sessions(action, ids, dry_run=is_rehearsal)
    assert (result.succeeded, result.would_change) == ((), ())
    assert {failure.error.replace(failure.session_id, "ID") for failure in result.failed} == {
        result.failed[0].error.replace(foreign[0], "ID")
    }
    assert [failure.session_id for failure in result.failed] == ids
    assert await system.snapshot(*foreign) == before


@pytest.mark.owes(Capability.UPDATE_SESSION_STATE, Capability.APPEND_MESSAGES)
async def test_a_caller_limited_to_a_user_can_do_everything_with_its_own_sessions(system: System) -> None:
    mine = await system.seed_one(Seed(user_id="ann", state={"a": 1}))
    ann = system.of("ann")
    await ann.update_session_state(mine, {"b": 2})
    await ann.append_messages(mine, [NewMessage(role="user", text="Hello")])
    session = await ann.get_session(mine)
    assert (session.state, session.user_id) == ({"a": 1, "b": 2}, "ann")
    assert [message.text for message in (await ann.get_session_history(mine)).messages] == ["Hello"]
