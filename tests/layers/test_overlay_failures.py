"""An overlay that can't be used, or whose change fails after the system's own: nothing is hidden silently."""

# ruff: noqa: ASYNC240 - the files are on a local disk

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import BadResponse, Conflict, Invalid, Unavailable
from mcp_sessions.models import Change, SessionDetail, SessionFilter

from ..support.servers import postgres_process
from ..support.stores import empty_database
from .listed_backend import ListedBackend, Summarizing, ids, number_in, overlaid

DATABASES = ["sqlite", *(["postgresql"] if postgres_process.is_installed() else [])]
ARCHIVED = SessionFilter(archived=True)


async def test_an_update_of_two_fields_stores_each_where_it_is_kept(overlay_path: Path) -> None:
    inner = Summarizing()
    inner.add("a")
    async with overlaid(inner, overlay_path) as backend:
        change = await backend.update_session("a", metadata={"k": 1}, summary="S")
        assert change.changed == {"summary": "S", "metadata": {"k": 1}}
        assert change.previous == {"summary": "", "metadata": {}}
        assert (change.kept_by_overlay, number_in(change.version)) == (("metadata",), 1)
        assert inner.contents.sessions["a"].summary == "S"
        only_native = await backend.update_session("a", summary="T", expected_version=change.version)
        assert (only_native.kept_by_overlay, only_native.version) == ((), change.version)
        both = await backend.update_session("a", metadata={"k": 2}, clear=["summary"], expected_version=change.version)
        assert (both.changed, number_in(both.version)) == ({"summary": "", "metadata": {"k": 2}}, 2)
        with pytest.raises(Conflict):
            await backend.update_session("a", metadata={"k": 3}, summary="U", expected_version=change.version)
        assert inner.contents.sessions["a"].summary == ""


async def test_an_update_whose_second_half_fails_says_what_was_changed(overlay_path: Path) -> None:
    class Interrupted(Summarizing):
        """A system during whose change another program changes the overlay."""

        other: Overlay

        async def update_session(self, session_id: str, **arguments: Any) -> Change:
            await self.other.update_session(session_id, metadata={"other": 1})
            return await super().update_session(session_id, **arguments)

    inner = Interrupted()
    inner.add("a")
    async with overlaid(inner, overlay_path) as backend, overlaid(inner, overlay_path) as inner.other:
        seen = (await backend.get_session("a")).version
        change = await backend.update_session("a", metadata={"k": 1}, summary="S", expected_version=seen)
        assert (change.changed, number_in(change.version)) == ({"summary": "S"}, 1)
        assert change.note.startswith(
            "Only this was changed: the metadata, which the overlay keeps, was not. conflict: "
        )
        assert (await backend.get_session("a")).metadata == {"other": 1}


async def test_an_update_with_metadata_that_is_too_large_changes_nothing(overlay_path: Path) -> None:
    inner = Summarizing()
    inner.add("a")
    half = "x" * 600_000
    async with overlaid(inner, overlay_path) as backend:
        await backend.update_session("a", metadata={"one": half})
        with pytest.raises(Invalid, match="metadata"):
            await backend.update_session("a", metadata={"two": half}, summary="S")
        assert (await backend.get_session("a")).summary == ""


async def test_an_overlay_that_cannot_be_used_is_told_and_hides_nothing_else(
    listed: ListedBackend, overlay_path: Path
) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.archive_session("a")
    overlay_path.write_bytes(b"not a database" * 1000)
    async with overlaid(listed, overlay_path) as backend:
        why = "the overlay can't be used: the store's file is damaged or not a SQLite file."
        session = await backend.get_session("a")
        assert session.name == "name of a"
        assert why in session.note
        assert session.note.startswith("What the overlay keeps is missing here (archived_at, state, metadata, summary)")
        page = await backend.list_sessions(SessionFilter())
        assert [session.id for session in page.sessions] == ["c", "b", "a"]
        assert page.note.startswith(f"Archived sessions may be among these, since {why}")
        with pytest.raises(BadResponse, match="the overlay can't be used"):
            await backend.list_sessions(ARCHIVED)
        with pytest.raises(BadResponse):
            await backend.export_session("a")
        with pytest.raises(BadResponse):
            await backend.update_session_state("a", {"step": 1})
        created = await backend.create_session(state={"step": 1})
        assert "The session was created, but without its state: bad_response:" in created.note
        renamed = await backend.rename_session("a", "New")
        assert renamed.changed == {"name": "New"}
        assert why in renamed.note


async def test_an_overlay_of_a_newer_version_is_not_changed(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.archive_session("a")
    with closing(sqlite3.connect(overlay_path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    async with overlaid(listed, overlay_path) as backend:
        with pytest.raises(Unavailable, match="a newer mcp-sessions made this"):
            await backend.restore_session("a")


async def test_a_place_where_no_file_can_be_created_takes_no_reading_away(
    listed: ListedBackend, overlay_path: Path
) -> None:
    overlay_path.parent.touch()
    async with overlaid(listed, overlay_path) as backend:
        assert (await backend.get_session("a")).note == ""
        assert await ids(backend) == ["c", "b", "a"]
        with pytest.raises(Unavailable, match="the overlay can't be used: the store's folder can't be created"):
            await backend.archive_session("a")


async def test_an_overlay_that_fails_during_a_list_hides_no_session(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        await backend.archive_session("b")
        assert await ids(backend) == ["c", "a"]
        page_of_system = listed.read_sessions

        async def read_sessions() -> Sequence[SessionDetail]:
            overlay_path.unlink(missing_ok=True)
            overlay_path.write_bytes(b"not a database" * 1000)
            return await page_of_system()

        listed.read_sessions = read_sessions
        page = await backend.list_sessions(SessionFilter())
        assert [session.id for session in page.sessions] == ["c", "b", "a"]
        assert page.note.startswith("Archived sessions may be among these, since the overlay can't be used:")


async def test_several_backends_with_one_overlay_tell_of_its_failure_once(overlay_path: Path) -> None:
    store = OverlayStore.from_url(f"sqlite:///{overlay_path}")
    overlay_path.parent.mkdir()
    overlay_path.write_bytes(b"damaged" * 1000)
    members = {name: Overlay(ListedBackend(), store, source=name) for name in ("one", "two")}
    async with Many(members) as many:
        note = (await many.list_sessions(SessionFilter())).note
        assert note.startswith("one (a list) and two (a list): Archived sessions may be among these")
        assert note.count("overlay") == 1
        with pytest.raises(BadResponse):
            await many.list_sessions(ARCHIVED)
    async with Many(members | {"store": open_backend("sqlite:///:memory:")}) as many:
        note = (await many.list_sessions(ARCHIVED)).note
        assert note.startswith("The sessions of one (a list) and two (a list) are missing: the overlay")
        assert note.count("the overlay can't be used") == 1


async def test_a_damaged_row_costs_only_its_own_session(listed: ListedBackend, overlay_path: Path) -> None:
    async with overlaid(listed, overlay_path) as backend:
        for session_id in ("a", "b"):
            await backend.update_session_state(session_id, {"step": 1})
            await backend.archive_session(session_id)
    with closing(sqlite3.connect(overlay_path)) as connection:
        connection.execute("UPDATE facts SET state = '{', archived_at = -62135647200000000 WHERE session_id = 'a'")
        connection.commit()
    async with overlaid(listed, overlay_path) as backend:
        assert await ids(backend) == ["c"]
        assert await ids(backend, ARCHIVED) == ["b", "a"]
        assert [session.id async for session in backend.changes(None)] == ["c", "b", "a"]
        assert (await backend.get_session("b")).state == {"step": 1}
        assert 'its values of session "a" are damaged' in (await backend.get_session("a")).note
        with pytest.raises(BadResponse, match="damaged"):
            await backend.update_session_state("a", {"step": 2})
    with closing(sqlite3.connect(overlay_path)) as connection:
        connection.execute("UPDATE facts SET archived_at = 'today' WHERE session_id = 'a'")
        connection.commit()
    async with overlaid(listed, overlay_path) as backend:
        assert await ids(backend, ARCHIVED) == ["b", "a"]


async def test_a_change_of_a_field_of_the_system_needs_no_overlay(overlay_path: Path) -> None:
    inner = Summarizing()
    inner.add("a")
    overlay_path.parent.mkdir()
    overlay_path.write_bytes(b"not a database" * 1000)
    async with overlaid(inner, overlay_path) as backend:
        change = await backend.update_session("a", summary="S")
        assert change.changed == {"summary": "S"}
        assert "the overlay can't be used" in change.note


@pytest.mark.parametrize("database", DATABASES)
async def test_an_id_that_a_database_cannot_store_costs_no_other_session_anything(
    listed: ListedBackend, overlay_path: Path, database: str
) -> None:
    url = f"sqlite:///{overlay_path}" if database == "sqlite" else empty_database().url
    for number, session_id in enumerate(("half \ud800", "zero \0"), 10):
        listed.add(session_id, second=number)
    async with Overlay(listed, OverlayStore.from_url(url), source="list:") as backend:
        for session_id in ("a", "half \ud800", "zero \0"):
            await backend.archive_session(session_id)
            await backend.update_session_state(session_id, {"id": session_id.isascii()})
            assert (await backend.get_session(session_id)).state == {"id": session_id.isascii()}
        assert await ids(backend) == ["c", "b"]
        assert await ids(backend, ARCHIVED) == ["zero \0", "half \ud800", "a"]
