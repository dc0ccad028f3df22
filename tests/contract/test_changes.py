"""Renaming, archiving, restoring and deleting one session."""

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Conflict, Invalid, NotFound, Unsupported
from mcp_sessions.models import SessionFilter

from .harness import Seed, System
from .samples import SAID, WEATHER

CREATE = Capability.CREATE_SESSION
RENAME, ARCHIVE = Capability.RENAME_SESSION, Capability.ARCHIVE_SESSION
RESTORE, DELETE = Capability.RESTORE_SESSION, Capability.DELETE_SESSION


async def _listed(system: System, *, archived: bool = False) -> dict[str, str]:
    page = await system.backend.list_sessions(SessionFilter(archived=archived))
    return {session.id: session.name for session in page.sessions}


@pytest.mark.owes(RENAME)
async def test_a_renamed_session_has_its_new_name(system: System) -> None:
    session_id, other = await system.seed(Seed(name="Before", agent_id="planner", runs=WEATHER), Seed(name="Other"))
    change = await system.backend.rename_session(session_id, "After: «Größe», 東京 😀")
    assert change.changed == {"name": "After: «Größe», 東京 😀"}
    assert change.previous == {"name": "Before"}
    renamed = await system.backend.get_session(change.session_id)
    assert renamed.name == "After: «Größe», 東京 😀"
    assert change.version == renamed.version
    assert await _listed(system) == {change.session_id: "After: «Größe», 東京 😀", other: "Other"}


@pytest.mark.owes(CREATE, RENAME)
@pytest.mark.parametrize("type", ["agent", "team", "workflow"])
async def test_a_new_session_without_a_name_can_be_named(system: System, type: str) -> None:
    agent_id = {"agent": "planner", "team": "crew", "workflow": "pipeline"}[type]
    created = await system.backend.create_session(type=type, agent_id=agent_id)
    change = await system.backend.rename_session(created.id, "First")
    assert (change.previous, change.changed) == ({"name": ""}, {"name": "First"})
    assert (await system.backend.get_session(change.session_id)).name == "First"


@pytest.mark.owes(RENAME)
async def test_renaming_to_the_previous_name_undoes_a_rename(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Before"))
    change = await system.backend.rename_session(session_id, "After")
    undone = await system.backend.rename_session(change.session_id, change.previous["name"])
    assert (await system.backend.get_session(undone.session_id)).name == "Before"


@pytest.mark.owes(RENAME)
async def test_an_empty_name_clears_the_name_or_is_refused(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Before"))
    try:
        change = await system.backend.rename_session(session_id, "")
    except (Invalid, Unsupported):
        assert (await system.backend.get_session(session_id)).name == "Before"
    else:
        assert (await system.backend.get_session(change.session_id)).name == ""


@pytest.mark.owes(ARCHIVE)
async def test_an_archived_session_moves_from_the_list_to_the_archive(system: System) -> None:
    session_id, other = await system.seed(Seed(name="Trip", agent_id="planner", runs=WEATHER), Seed(name="Other"))
    change = await system.backend.archive_session(session_id)
    assert change.changed["archived_at"]
    assert not change.previous["archived_at"]
    assert await _listed(system) == {other: "Other"}
    assert await _listed(system, archived=True) == {change.session_id: "Trip"}


@pytest.mark.owes(ARCHIVE)
async def test_archiving_twice_changes_nothing_and_says_so(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip"))
    first = await system.backend.archive_session(session_id)
    before = await system.snapshot(first.session_id)
    again = await system.backend.archive_session(first.session_id)
    assert again.changed == again.previous == {}
    assert again.note
    assert await system.snapshot(first.session_id) == before


@pytest.mark.owes(ARCHIVE, RESTORE)
async def test_a_restored_session_is_active_and_complete(system: System) -> None:
    trip = Seed(name="Trip", agent_id="planner", runs=WEATHER, state={"step": 3}, metadata={"a": "b"}, archived=True)
    await system.seed(trip)
    ((archived_id, _),) = (await _listed(system, archived=True)).items()
    change = await system.backend.restore_session(archived_id)
    assert not change.changed["archived_at"]
    assert change.previous["archived_at"]
    assert await _listed(system) == {change.session_id: "Trip"}
    assert await _listed(system, archived=True) == {}
    session = await system.backend.get_session(change.session_id)
    assert (session.archived_at, session.state, session.metadata) == (None, {"step": 3}, {"a": "b"})
    history = await system.backend.get_session_history(change.session_id)
    assert [message.text for message in history.messages] == SAID


@pytest.mark.owes(ARCHIVE, RESTORE)
async def test_a_session_can_be_restored_with_a_new_name(system: System) -> None:
    await system.seed(Seed(name="Trip", archived=True))
    ((archived_id, _),) = (await _listed(system, archived=True)).items()
    change = await system.backend.restore_session(archived_id, name="Back")
    assert await _listed(system) == {change.session_id: "Back"}
    assert change.changed["name"] == "Back"
    assert change.previous["name"] == "Trip"


@pytest.mark.owes(RESTORE)
async def test_restoring_an_active_session_changes_nothing_and_says_so(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip"))
    before = await system.snapshot(session_id)
    change = await system.backend.restore_session(session_id)
    assert change.changed == change.previous == {}
    assert change.note
    assert await system.snapshot(session_id) == before


@pytest.mark.owes(DELETE)
async def test_a_deleted_session_is_gone_and_the_note_says_whether_it_can_be_restored(system: System) -> None:
    session_id, other = await system.seed(Seed(name="Trip", agent_id="planner", runs=WEATHER), Seed(name="Other"))
    change = await system.backend.delete_session(session_id)
    assert change.note
    assert await _listed(system) == {other: "Other"}
    if ARCHIVE in system.harness.capabilities:
        assert await _listed(system, archived=True) == {}
    with pytest.raises(NotFound):
        await system.backend.get_session(session_id)
    with pytest.raises(NotFound):
        await system.backend.get_session_history(session_id)


@pytest.mark.owes(DELETE)
async def test_a_session_cannot_be_deleted_twice(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip"))
    await system.backend.delete_session(session_id)
    with pytest.raises(NotFound):
        await system.backend.delete_session(session_id)


@pytest.mark.owes(DELETE, RENAME)
async def test_a_session_that_was_changed_meanwhile_is_not_deleted(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip"))
    seen = (await system.backend.get_session(session_id)).version
    renamed = await system.backend.rename_session(session_id, "Trip to Rome")
    with pytest.raises(Conflict):
        await system.backend.delete_session(renamed.session_id, expected_version=seen)
    assert await _listed(system) == {renamed.session_id: "Trip to Rome"}
    await system.backend.delete_session(renamed.session_id, expected_version=renamed.version)
    assert await _listed(system) == {}


@pytest.mark.owes(DELETE)
async def test_the_deletion_notice_says_what_is_deleted(system: System) -> None:
    assert system.backend.deletion_notice()
