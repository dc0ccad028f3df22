"""Deleted sessions can be restored for a while; then they are purged, and their ids are never reused."""

import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.store_files import assert_whole, connected, opened
from ...support.store_processes import context, run_together

HELLO = [NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Welcome")]


async def _delete(store: SessionBackend, name: str) -> str:
    session = await store.create_session(name=name, state={"a": 1}, metadata={"b": 2})
    await store.append_messages(session.id, HELLO)
    await store.delete_session(session.id)
    return session.id


def _age(path: Path, days: float, *ids: str) -> None:
    """Make the sessions' deletions this many days old."""
    purge_at = round((datetime.now(UTC) + timedelta(days=30 - days)).timestamp() * 1_000_000)
    with connected(path) as connection:
        for session_id in ids:
            connection.execute("UPDATE sessions SET purge_at = ? WHERE id = ?", (purge_at, session_id))


def _count(path: Path, table: str) -> int:
    with connected(path) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def test_a_deleted_session_is_restored_completely(store: SessionBackend, path: Path) -> None:
    session_id = await _delete(store, "Trip")
    change = await store.restore_session(session_id)
    assert change.session_id == session_id
    assert "deleted" in change.note
    session = await store.get_session(session_id)
    assert (session.name, session.state, session.metadata, session.archived_at) == ("Trip", {"a": 1}, {"b": 2}, None)
    assert [message.text for message in (await store.get_session_history(session_id)).messages] == ["Hello", "Welcome"]
    assert len((await store.search_sessions("welcome")).hits) == 1
    assert len((await store.list_sessions(SessionFilter())).sessions) == 1
    assert_whole(path)


async def test_a_deleted_session_can_be_restored_with_a_new_name(store: SessionBackend) -> None:
    session_id = await _delete(store, "Trip")
    change = await store.restore_session(session_id, name="Back")
    assert (change.changed["name"], change.previous["name"]) == ("Back", "Trip")
    assert (await store.get_session(session_id)).name == "Back"
    assert [hit.session_id for hit in (await store.search_sessions("back")).hits] == [session_id]
    assert (await store.search_sessions("trip")).hits == ()


async def test_an_archived_session_that_was_deleted_is_restored_to_the_archive(store: SessionBackend) -> None:
    session = await store.create_session(name="Trip")
    await store.archive_session(session.id)
    archived_at = (await store.get_session(session.id)).archived_at
    await store.delete_session(session.id)
    change = await store.restore_session(session.id)
    assert "archive" in change.note
    assert (await store.get_session(session.id)).archived_at == archived_at
    assert (await store.list_sessions(SessionFilter())).sessions == ()
    await store.restore_session(session.id)
    assert (await store.get_session(session.id)).archived_at is None


async def test_a_deletion_says_until_when_it_can_be_undone(path: Path) -> None:
    async with opened(path, keep_deleted=3) as store:
        session = await store.create_session(name="Trip")
        notice = store.deletion_notice()
        change = await store.delete_session(session.id)
        until = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
        assert until in notice
        assert until in change.note
        assert f'restore_session("{session.id}")' in change.note
        with pytest.raises(NotFound, match=f"was deleted. restore_session can restore it until {until}"):
            await store.get_session(session.id)


async def test_a_bulk_restore_restores_deleted_sessions(store: SessionBackend) -> None:
    ids = [await _delete(store, "one"), await _delete(store, "two")]
    rehearsal = await store.apply_to_sessions("restore", ids)
    assert [target.name for target in rehearsal.would_change] == ["one", "two"]
    assert (await store.list_sessions(SessionFilter())).sessions == ()
    assert (await store.apply_to_sessions("restore", ids, dry_run=False)).succeeded == tuple(ids)
    assert len((await store.list_sessions(SessionFilter())).sessions) == 2


async def test_opening_the_store_purges_expired_sessions(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mcp_sessions")
    async with opened(path) as store:
        old, young = await _delete(store, "Very private"), await _delete(store, "Younger")
        kept = (await store.create_session(name="Kept")).id
        await store.append_messages(kept, HELLO)
    _age(path, 31, old)
    _age(path, 29, young)
    async with opened(path) as store:
        with pytest.raises(NotFound, match=f'no session "{old}"'):
            await store.restore_session(old)
        assert {hit.session_id for hit in (await store.search_sessions("welcome")).hits} == {kept}
        assert (await store.search_sessions("private")).hits == ()
        await store.restore_session(young)
        assert len((await store.search_sessions("welcome")).hits) == 2
    assert (_count(path, "messages"), _count(path, "sessions")) == (4, 2)
    assert_whole(path)
    assert old in caplog.text
    assert young not in caplog.text
    assert "Very private" not in caplog.text


async def test_a_deleted_session_is_kept_as_long_as_its_deletion_said(path: Path) -> None:
    async with opened(path, keep_deleted=40) as store:
        kept = await _delete(store, "Kept")
    async with opened(path, keep_deleted=1) as store:
        gone = await _delete(store, "Gone")
    _age(path, 31, gone)
    async with opened(path, keep_deleted=1) as store:
        await store.restore_session(kept)
        with pytest.raises(NotFound, match="no session"):
            await store.restore_session(gone)


async def test_archived_and_listed_sessions_are_never_purged(path: Path) -> None:
    async with opened(path) as store:
        listed, archived = (await store.create_session()).id, (await store.create_session()).id
        await store.archive_session(archived)
        restored = await _delete(store, "Trip")
        await store.restore_session(restored)
    with connected(path) as connection:
        connection.execute("UPDATE sessions SET created_at = 1, updated_at = 1")
        connection.execute("UPDATE sessions SET archived_at = 1 WHERE archived_at IS NOT NULL")
    async with opened(path, keep_deleted=0) as store:
        for session_id in (listed, archived, restored):
            assert await store.get_session(session_id)


@pytest.mark.slow
async def test_opening_the_store_purges_every_expired_session(path: Path) -> None:
    async with opened(path) as store:
        ids = [(await store.create_session(name=f"{number}")).id for number in range(250)]
        await store.apply_to_sessions("delete", ids[:125], dry_run=False)
        await store.apply_to_sessions("delete", ids[125:], dry_run=False)
    _age(path, 31, *ids)
    async with opened(path):
        pass
    assert (_count(path, "sessions"), _count(path, "purged_ids")) == (0, 250)
    assert_whole(path)


def _open(path: Path, together: Barrier) -> None:
    async def main() -> None:
        together.wait()
        async with opened(path):
            pass

    anyio.run(main)


@pytest.mark.slow
async def test_processes_that_open_a_file_together_share_the_purge(path: Path) -> None:
    async with opened(path) as store:
        ids = [await _delete(store, f"{number}") for number in range(40)]
    _age(path, 31, *ids)
    processes = context()
    together = processes.Barrier(8)
    run_together([processes.Process(target=_open, args=(path, together)) for _ in range(8)])
    assert (_count(path, "sessions"), _count(path, "messages"), _count(path, "purged_ids")) == (0, 0, 40)
    assert_whole(path)


@pytest.mark.parametrize("state_of_it", ["listed", "deleted", "purged"])
async def test_an_id_is_never_used_again(path: Path, monkeypatch: pytest.MonkeyPatch, state_of_it: str) -> None:
    async with opened(path) as store:
        taken = (await store.create_session(name="First")).id
        if state_of_it != "listed":
            await store.delete_session(taken)
    if state_of_it == "purged":
        _age(path, 31, taken)
    proposals = list(taken * 2)
    choice = secrets.choice

    def propose(letters: Sequence[str]) -> str:
        return proposals.pop(0) if proposals else choice(letters)

    monkeypatch.setattr(secrets, "choice", propose)
    async with opened(path) as store:
        created = await store.create_session(name="Second")
    assert proposals == []
    assert created.id != taken


async def test_ids_are_short_and_do_not_read_as_numbers(store: SessionBackend) -> None:
    for _ in range(50):
        session_id = (await store.create_session()).id
        assert len(session_id) == 8
        assert session_id.isascii() and session_id.isalnum() and session_id.islower()
        assert session_id[0].isalpha()
        assert not set(session_id) & set("01ilo")


async def test_a_deletion_does_not_reveal_the_session_to_other_users(store: SessionBackend) -> None:
    ann, ben = (store.for_caller(Caller(user_id=user)) for user in ("ann", "ben"))
    session_id = await _delete(ann, "Trip")
    for call in (ben.get_session, ben.restore_session, ben.delete_session):
        with pytest.raises(NotFound, match=f'no session "{session_id}". Call list_sessions for'):
            await call(session_id)
    await ann.restore_session(session_id)
