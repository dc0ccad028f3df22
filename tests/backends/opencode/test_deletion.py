"""A deleted session can be restored from its copy, with the sessions that it started."""

import json
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest

from mcp_sessions.errors import Conflict, NotFound, OutcomeUnknown, SessionsError, Unavailable, Unsupported

from ...contract.harness import Seed
from ...contract.samples import WEATHER
from ...support.faked_opencode import backend_on, faked
from ...support.fakes.http import Response
from ...support.fakes.opencode import FakeOpencode, Fault

FAILED = Response(500)
TRIP = Seed(name="Trip", metadata={"a": 1}, runs=WEATHER)


def make_family(fake: FakeOpencode, ids: list[str]) -> None:
    """Let each session be started by the one before."""
    for parent, child in pairwise(ids):
        fake.store.sessions[child]["parentID"] = parent


def copies_in(data_folder: Path) -> list[Path]:
    """Return the copies of sessions without those that they started."""
    return [*data_folder.glob("deleted/*/*/0")]


@pytest.mark.parametrize("version", ["1.18.33", "1.15.13"])
async def test_a_deleted_session_is_restored_as_it_was_with_its_descendants(version: str) -> None:
    async with faked(TRIP, Seed(runs=WEATHER), Seed(archived=True), version=version) as (fake, backend, ids):
        make_family(fake, [*ids])
        before = deepcopy((fake.store.sessions, fake.store.messages))
        deleted = await backend.delete_session(ids[0])
        assert f'restore_session("{ids[0]}")' in deleted.note
        assert fake.store.sessions == {}
        restored = await backend.restore_session(ids[0])
        assert "It was deleted" in restored.note
        assert (fake.store.sessions, fake.store.messages) == before
        assert "active already" in (await backend.restore_session(ids[0])).note


async def test_an_archived_session_is_archived_again_and_has_the_new_name(tmp_path: Path) -> None:
    async with faked(Seed(name="Trip", archived=True), folder=str(tmp_path)) as (fake, backend, (session_id,)):
        await backend.delete_session(session_id)
        change = await backend.restore_session(session_id, name="Trip to Rome")
        assert "archived again" in change.note
        assert change.changed == {"name": "Trip to Rome"}
        assert fake.store.sessions[session_id]["time"]["archived"]
        assert copies_in(tmp_path) == []


@pytest.mark.parametrize("version", ["1.18.33", "1.15.13"])
async def test_an_interrupted_restoration_is_completed_by_the_next_one(version: str) -> None:
    async with faked(TRIP, Seed(runs=WEATHER), version=version) as (fake, backend, ids):
        make_family(fake, [*ids])
        before = deepcopy(fake.store.messages)
        await backend.delete_session(ids[0])
        skips = 1 if version == "1.18.33" else 14
        fake.faults.append(Fault(Response(200, sent="none"), "POST", "replay", after=True, skips=skips))
        with pytest.raises(SessionsError):
            await backend.restore_session(ids[0])
        await backend.restore_session(ids[0])
        assert fake.store.messages == before


async def test_a_session_that_was_changed_while_it_was_only_partly_there_is_not_overwritten() -> None:
    async with faked(TRIP) as (fake, backend, (session_id,)):
        session = deepcopy(fake.store.sessions[session_id])
        await backend.delete_session(session_id)
        fake.faults.append(Fault(Response(200, sent="none"), "POST", "replay"))
        with pytest.raises(SessionsError):
            await backend.restore_session(session_id)
        event = {"id": "evt_1", "aggregateID": session_id, "seq": 0, "type": "session.created.1"}
        fake.store.replay([event | {"data": {"sessionID": session_id, "info": session | {"title": "Newer"}}}])
        with pytest.raises(Conflict, match="changed since"):
            await backend.restore_session(session_id)
        assert fake.store.sessions[session_id]["title"] == "Newer"


@pytest.mark.parametrize("version", ["1.18.33", "1.15.13"])
async def test_an_old_copy_is_not_written_over_a_session_that_is_there(version: str) -> None:
    """Another program has imported it, changed it and archived it."""
    async with faked(TRIP, version=version) as (fake, backend, (session_id,)):
        session, messages = deepcopy((fake.store.sessions[session_id], fake.store.messages[session_id]))
        await backend.delete_session(session_id)
        fake.store.sessions[session_id], fake.store.messages[session_id] = session, messages[:-1]
        await backend.rename_session(session_id, "Newer")
        await backend.archive_session(session_id)
        before = deepcopy(fake.store.messages)
        await backend.restore_session(session_id)
        restored = fake.store.sessions[session_id]
        assert (restored["title"], restored["time"]["archived"]) == ("Newer", 0)
        assert fake.store.messages == before


@pytest.mark.parametrize("route", ["children", "message"])
async def test_nothing_is_deleted_if_a_descendant_can_not_be_copied(route: str, tmp_path: Path) -> None:
    async with faked(TRIP, Seed(runs=WEATHER), folder=str(tmp_path)) as (fake, backend, ids):
        make_family(fake, [*ids])
        fake.faults += [Fault(FAILED, "GET", f"{ids[1]}/{route}")]
        with pytest.raises(Unavailable):
            await backend.delete_session(ids[0])
        assert [*fake.store.sessions] == [*ids]
        assert copies_in(tmp_path) == []


async def test_the_copy_is_kept_only_if_the_session_may_be_gone(tmp_path: Path) -> None:
    async with faked(TRIP, folder=str(tmp_path)) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(FAILED, "DELETE"))
        with pytest.raises(Unavailable, match="was not made"):
            await backend.delete_session(session_id)
        assert copies_in(tmp_path) == []
        fake.faults += [Fault(FAILED, "DELETE", after=True), Fault(FAILED, "GET", session_id, skips=2)]
        with pytest.raises(OutcomeUnknown):
            await backend.delete_session(session_id)
        await backend.restore_session(session_id)
        assert session_id in fake.store.sessions


async def test_a_version_that_can_not_restore_says_so_and_keeps_the_export(tmp_path: Path) -> None:
    async with faked(TRIP, folder=str(tmp_path), version="1.2.27") as (_, backend, (session_id,)):
        assert "opencode import" in (await backend.delete_session(session_id)).note
        with pytest.raises(Unsupported, match="opencode import"):
            await backend.restore_session(session_id)
        (copy,) = copies_in(tmp_path)
        exported = json.loads(copy.read_text(encoding="utf-8"))
        assert exported["info"]["id"] == session_id
        assert len(exported["messages"]) == 5
        assert copy.stat().st_mode & 0o077 == 0


async def test_a_copy_that_opencode_refuses_or_that_is_damaged_stays(tmp_path: Path) -> None:
    async with faked(TRIP, folder=str(tmp_path)) as (fake, backend, (session_id,)):
        await backend.delete_session(session_id)
        fake.faults += [Fault(FAILED, "POST"), Fault(FAILED, "POST")]
        with pytest.raises(Unavailable, match="did not accept"):
            await backend.restore_session(session_id)
        (copy,) = copies_in(tmp_path)
        copy.write_text("{", encoding="utf-8")
        with pytest.raises(Unavailable, match="damaged"):
            await backend.restore_session(session_id)
        assert copy.exists()


async def test_the_deleted_sessions_of_another_server_are_not_found(tmp_path: Path) -> None:
    async with faked(TRIP, folder=str(tmp_path)) as (_, backend, (session_id,)), FakeOpencode() as other:
        await backend.delete_session(session_id)
        async with backend_on(other, folder=str(tmp_path)) as elsewhere:
            for id in (session_id, "../x", "ses_../../x", ""):
                with pytest.raises(NotFound):
                    await elsewhere.restore_session(id)
