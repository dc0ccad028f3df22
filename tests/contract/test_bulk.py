"""The same action on many sessions."""

from typing import get_args

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.models import BulkAction, SessionFilter

from .harness import Seed, System

BULK = Capability.APPLY_TO_SESSIONS
ACTIONS: tuple[BulkAction, ...] = get_args(BulkAction)


async def _names(system: System, *, archived: bool = False) -> set[str]:
    page = await system.backend.list_sessions(SessionFilter(archived=archived))
    return {session.name for session in page.sessions}


@pytest.mark.owes(BULK)
@pytest.mark.parametrize("action", ACTIONS)
async def test_a_dry_run_lists_the_sessions_that_would_change_and_changes_none(
    system: System, action: BulkAction
) -> None:
    one, two = await system.seed(Seed(name="one"), Seed(name="two"))
    before = await system.snapshot(one, two)
    result = await system.backend.apply_to_sessions(action, [one, system.harness.absent_id])
    assert (result.action, result.dry_run, result.succeeded) == (action, True, ())
    assert [(target.session_id, target.name) for target in result.would_change] == (
        [] if action == "restore" else [(one, "one")]
    )
    (failure,) = result.failed
    assert failure.session_id == system.harness.absent_id
    assert failure.error.startswith("not_found: ")
    assert await system.snapshot(one, two) == before


@pytest.mark.owes(BULK, Capability.ARCHIVE_SESSION)
async def test_a_bulk_archive_continues_after_a_session_that_fails(system: System) -> None:
    one, two, _ = await system.seed(Seed(name="one"), Seed(name="two"), Seed(name="three"))
    ids = [one, system.harness.absent_id, two, one]
    result = await system.backend.apply_to_sessions("archive", ids, dry_run=False)
    assert (len(result.succeeded), result.would_change) == (2, ())
    assert [failure.session_id for failure in result.failed] == [system.harness.absent_id]
    assert await _names(system) == {"three"}
    assert await _names(system, archived=True) == {"one", "two"}


@pytest.mark.owes(BULK, Capability.ARCHIVE_SESSION, Capability.RESTORE_SESSION)
async def test_a_bulk_restore_restores_archived_sessions(system: System) -> None:
    await system.seed(Seed(name="one", archived=True), Seed(name="two", archived=True), Seed(name="three"))
    archived = [session.id for session in (await system.backend.list_sessions(SessionFilter(archived=True))).sessions]
    rehearsal = await system.backend.apply_to_sessions("restore", archived)
    assert {target.name for target in rehearsal.would_change} == {"one", "two"}
    result = await system.backend.apply_to_sessions("restore", archived, dry_run=False)
    assert (len(result.succeeded), result.failed) == (2, ())
    assert await _names(system) == {"one", "two", "three"}


@pytest.mark.owes(BULK, Capability.DELETE_SESSION)
async def test_a_bulk_deletion_deletes_only_the_sessions_it_names(system: System) -> None:
    one, two, _ = await system.seed(Seed(name="one"), Seed(name="two"), Seed(name="three"))
    result = await system.backend.apply_to_sessions("delete", [one, two, system.harness.absent_id], dry_run=False)
    assert (set(result.succeeded), len(result.failed)) == ({one, two}, 1)
    assert await _names(system) == {"three"}


@pytest.mark.owes(BULK, Capability.DELETE_SESSION, Capability.RENAME_SESSION)
async def test_a_bulk_deletion_skips_a_session_that_was_changed_since(system: System) -> None:
    one, two = await system.seed(Seed(name="one"), Seed(name="two"))
    versions = {session_id: (await system.backend.get_session(session_id)).version for session_id in (one, two)}
    await system.backend.rename_session(one, "changed")
    result = await system.backend.apply_to_sessions("delete", [one, two], dry_run=False, expected_versions=versions)
    assert result.succeeded == (two,)
    (failure,) = result.failed
    assert failure.error.startswith("conflict: ")
    assert await _names(system) == {"changed"}
