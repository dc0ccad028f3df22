"""An overlay: whose facts it shows, and what becomes of them."""

# ruff: noqa: ASYNC240 - the files are on a local disk

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.backends.layers.read_only_backend import ReadOnlyBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Conflict, Invalid, NotFound, Unsupported
from mcp_sessions.models import Change, SessionFilter

from ..contract.several import Opened
from ..support.faked_guayaba import faked
from .listed_backend import ListedBackend, ids, number_in, overlaid

ARCHIVED = SessionFilter(archived=True)


def test_an_overlay_adds_the_operations_for_the_fields_that_the_system_lacks(overlay_path: Path) -> None:
    class Annotated(ListedBackend):
        capabilities = ListedBackend.capabilities | {Capability.UPDATE_SESSION}

        @property
        def keeps(self) -> frozenset[str]:
            return frozenset({"name", "summary", "archived_at"})

    overlay = overlaid(Annotated(), overlay_path)
    assert overlay.capabilities - Annotated.capabilities == {Capability.UPDATE_SESSION_STATE}
    assert overlay.keeps == {"name", "summary", "archived_at", "state", "metadata"}


async def test_the_file_is_created_by_the_first_change_and_private(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        assert number_in((await backend.get_session("a")).version) == 0
        assert await ids(backend) == ["c", "b", "a"]
        assert await ids(backend, ARCHIVED) == []
        with pytest.raises(NotFound):
            await backend.get_session("z")
        assert not overlay_path.parent.exists()
        await backend.archive_session("a")
    assert stat.S_IMODE(overlay_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(overlay_path.parent.stat().st_mode) == 0o700


async def test_a_session_names_what_the_overlay_keeps_of_it(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        first = await backend.update_session_state("a", {"step": 1})
        assert (first.kept_by_overlay, number_in(first.version)) == (("state",), 1)
        assert first.note == "Stored by mcp-sessions, not in a list."
        await backend.archive_session("a")
        session = await backend.get_session("a")
        assert (session.kept_by_overlay, number_in(session.version)) == (("archived_at", "state"), 2)
        assert session in await backend.get_sessions_for_deletion(["z", "a"])
        assert (await backend.rename_session("a", "New")).version == session.version
        restored = await backend.restore_session("a")
        assert restored.changed == {"archived_at": ""}
        cleared = await backend.update_session_state("a", {}, mode="replace")
        assert cleared.previous == {"state": {"step": 1}}
        assert (await backend.get_session("a")).kept_by_overlay == ()


async def test_facts_are_those_of_the_system_whatever_its_name_in_the_settings(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(listed, overlay_path) as one, overlaid(ListedBackend(), overlay_path, source="other:") as other:
        await one.update_session("a", summary="Of the first")
        assert isinstance(other.inner, ListedBackend)
        other.inner.add("a")
        assert (await other.get_session("a")).summary == ""
    async with overlaid(listed, overlay_path) as again:
        assert (await again.get_session("a")).summary == "Of the first"


async def test_a_new_session_with_a_used_id_inherits_nothing(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.update_session_state("a", {"step": 1})
        await backend.archive_session("a")
        await backend.delete_session("a")
        listed.add("a", second=500)
        session = await backend.get_session("a")
        assert (session.state, session.archived_at, number_in(session.version)) == ({}, None, 0)
        assert "a" in await ids(backend)
        listed.add("a", second=0)
        assert (await backend.get_session("a")).state == {"step": 1}


async def test_a_version_of_an_earlier_session_with_the_same_id_is_stale(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(listed, overlay_path) as backend:
        seen = (await backend.update_session_state("a", {"step": 1})).version
        await backend.delete_session("a")
        listed.add("a", second=500)
        assert number_in((await backend.update_session_state("a", {"new": 1})).version) == number_in(seen)
        with pytest.raises(Conflict):
            await backend.update_session_state("a", {"new": 2}, expected_version=seen)
        with pytest.raises(Conflict):
            await backend.delete_session("a", expected_version=seen)


async def test_a_change_through_a_new_id_has_the_version_that_the_session_then_has(overlay_path: Path) -> None:
    async with faked() as (_, inner), overlaid(Opened(inner), overlay_path) as backend:
        (session_id,) = await ids(backend)
        await backend.update_session_state(session_id, {"step": 1})
        archived = await inner.archive_session(session_id)  # by another program, which changes the id
        restored = await backend.restore_session(archived.session_id)
        assert restored.version == (await backend.get_session(restored.session_id)).version
        assert number_in(restored.version) == 1
        archived = await inner.archive_session(session_id)
        await backend.get_session(archived.session_id)
    with closing(sqlite3.connect(overlay_path)) as connection:
        assert connection.execute("SELECT session_id FROM facts").fetchall() == [(archived.session_id,)]


async def test_a_session_that_the_system_cannot_rename_is_restored_only_without_a_name(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(ReadOnlyBackend(listed), overlay_path) as backend:
        await backend.archive_session("a")
        with pytest.raises(Unsupported, match="Call restore_session without a name"):
            await backend.restore_session("a", name="New")
        assert (await backend.restore_session("a")).changed == {"archived_at": ""}


async def test_what_was_kept_of_a_session_is_purged_when_it_has_been_gone_for_long(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(listed, overlay_path) as backend:
        for session_id in ("a", "b", "c"):
            await backend.update_session(session_id, summary="Kept")
        await backend.delete_session("a")
        del listed.contents.sessions["b"]
        for missing in (Caller(user_id="ben"), Caller(user_id="ann"), Caller()):
            with pytest.raises(NotFound):
                await backend.for_caller(missing).get_session("b")
        assert gone_in(overlay_path) == ["a"]  # that "b" is not found proves nothing: its id may have changed
        listed.add("b", second=1, user_id="ann")
        assert (await backend.get_session("b")).summary == "Kept"
    with closing(sqlite3.connect(overlay_path, isolation_level=None)) as connection:
        connection.execute("UPDATE facts SET gone_at = gone_at - 2 * 86400000000")
    listed.add("a", second=0, user_id="ann")
    async with overlaid(listed, overlay_path, options="?keep_deleted=3") as backend:
        assert (await backend.get_session("a")).summary == "Kept"
        await backend.delete_session("a")
    with closing(sqlite3.connect(overlay_path, isolation_level=None)) as connection:
        connection.execute("UPDATE facts SET gone_at = gone_at - 4 * 86400000000")
    async with overlaid(listed, overlay_path, options="?keep_deleted=3") as backend:
        assert (await backend.get_session("b")).summary == "Kept"
        listed.add("a", second=0, user_id="ann")
        assert (await backend.get_session("a")).summary == ""


async def test_what_was_kept_of_a_session_is_marked_gone_by_whoever_deletes_it(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.update_session("a", summary="Kept")
        await backend.for_caller(Caller(credential="one of several")).delete_session("a")
    assert gone_in(overlay_path) == ["a"]


async def test_an_archived_session_that_comes_back_is_archived_still(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.archive_session("c")
        await backend.delete_session("c")
        listed.add("c", second=2)
        assert await ids(backend) == ["b", "a"]
        assert gone_in(overlay_path) == []
        await backend.delete_session("c")
        await backend.archive_session("a")
        listed.add("c", second=2)
        assert await ids(backend, ARCHIVED) == ["c", "a"]


def gone_in(overlay_path: Path) -> list[str]:
    with closing(sqlite3.connect(overlay_path)) as connection:
        return [row[0] for row in connection.execute("SELECT session_id FROM facts WHERE gone_at IS NOT NULL")]


async def test_the_version_covers_the_system_and_the_overlay(overlay_path: Path) -> None:
    class Versioned(ListedBackend):
        async def rename_session(self, session_id: str, name: str) -> Change:
            change = await super().rename_session(session_id, name)
            session = self.contents.sessions[session_id]
            self.contents.sessions[session_id] = session.model_copy(update={"version": f"v{name}"})
            return change.model_copy(update={"version": f"v{name}"})

    backend = Versioned()
    backend.add("a")
    async with overlaid(backend, overlay_path) as overlay:
        await overlay.rename_session("a", "One")
        seen = (await overlay.update_session_state("a", {"step": 1})).version
        assert seen == "vOne+1"
        assert (await overlay.rename_session("a", "Two")).version == "vTwo+1"
        for stale in (seen, "vTwo", "vTwo+0", "+1", "vTwo+1+1"):
            with pytest.raises(Conflict, match=r"at version vTwo\+1 now"):
                await overlay.update_session_state("a", {"step": 2}, expected_version=stale)
            with pytest.raises(Conflict):
                await overlay.delete_session("a", expected_version=stale)
        await overlay.update_session_state("a", {"step": 2}, expected_version="vTwo+1")
        await overlay.delete_session("a", expected_version="vTwo+2")


async def test_what_a_created_session_is_given_is_kept(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        created = await backend.create_session(state={"step": 1}, metadata={"k": "v"})
        assert (created.state, created.metadata, number_in(created.version)) == ({"step": 1}, {"k": "v"}, 1)
        assert await backend.get_session(created.id) == created
        with pytest.raises(Invalid):
            await backend.create_session(state={"step": float("nan")})
        assert len(listed.contents.sessions) == 4


async def test_a_read_only_backend_shows_what_its_overlay_keeps(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.archive_session("a")
        await backend.update_session("b", summary="Kept")
    async with ReadOnlyBackend(overlaid(listed, overlay_path)) as backend:
        assert await ids(backend) == ["c", "b"]
        assert await ids(backend, ARCHIVED) == ["a"]
        assert (await backend.get_session("b")).summary == "Kept"
        with pytest.raises(Unsupported):
            await backend.restore_session("a")


async def test_a_session_that_the_system_archived_is_not_restored_by_the_overlay(
    listed: ListedBackend, overlay_path: Path
) -> None:
    session = listed.contents.sessions["a"]
    listed.contents.sessions["a"] = session.model_copy(update={"archived_at": session.created_at})
    async with overlaid(listed, overlay_path) as backend:
        assert await ids(backend, ARCHIVED) == ["a"]
        assert (await backend.archive_session("a")).changed == {}
        with pytest.raises(Unsupported, match="archived this session itself"):
            await backend.restore_session("a")


async def test_changes_and_exports_show_what_the_overlay_keeps(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        archived = await backend.archive_session("b")
        await backend.update_session_state("b", {"step": 1})
        times = {session.id: session.archived_at async for session in backend.changes(None)}
        assert [session_id for session_id, time in times.items() if time] == ["b"]
        exported = (await backend.export_session("b"))["session"]
        assert exported["archived_at"] == archived.changed["archived_at"]
        assert (exported["state"], exported["kept_by_overlay"]) == ({"step": 1}, ["archived_at", "state"])
