"""A store's file that is deleted, moved or replaced while a server has it open."""

# ruff: noqa: ASYNC240 - what is done to the file is done at once

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Row, Transaction
from mcp_sessions.backends.database.sqlite import SqliteDatabase
from mcp_sessions.backends.database.sqlite_schema import STORE
from mcp_sessions.backends.sql import StoreOptions
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.errors import BadResponse, Unavailable
from mcp_sessions.models import SessionFilter

from ...support.store_files import assert_whole, connected, opened

GONE = r"the store's file was deleted, moved or replaced while it was in use; nothing was changed\. Put it back"


async def names(store: SessionBackend) -> list[str]:
    return [session.name for session in (await store.list_sessions(SessionFilter())).sessions]


async def store_at(path: Path, name: str) -> None:
    async with opened(path) as store:
        await store.create_session(name=name)


async def wal_store_at(path: Path, name: str) -> None:
    await store_at(path, name)
    with connected(path) as connection:
        assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)


async def test_a_deleted_file_is_reported_and_no_change_is_written_to_it(path: Path) -> None:
    async with opened(path) as store:
        session = await store.create_session(name="Groceries")
        path.unlink()
        for _ in range(2):
            for call in (
                store.get_session(session.id),
                store.list_sessions(SessionFilter()),
                store.search_sessions("Groceries"),
                store.rename_session(session.id, "Lost"),
                store.create_session(name="Lost"),
            ):
                with pytest.raises(Unavailable, match=GONE):
                    await call
        assert not path.exists()


async def test_a_file_that_returns_is_served_again(path: Path, tmp_path: Path) -> None:
    async with opened(path) as store:
        session = await store.create_session(name="Groceries")
        path.rename(tmp_path / "away.db")
        with pytest.raises(Unavailable, match=GONE):
            await store.get_session(session.id)
        (tmp_path / "away.db").rename(path)
        await store.rename_session(session.id, "Shopping")
        assert await names(store) == ["Shopping"]
    assert_whole(path)


@pytest.mark.parametrize("change_first", [True, False])
async def test_a_replaced_file_is_served_with_its_new_contents(path: Path, tmp_path: Path, change_first: bool) -> None:
    await store_at(tmp_path / "backup.db", "From the backup")
    async with opened(path) as store:
        lost = await store.create_session(name="Groceries")
        (tmp_path / "backup.db").replace(path)
        if change_first:
            await store.create_session(name="Made since")
        assert await names(store) == ["Made since", "From the backup"] if change_first else ["From the backup"]
        assert [hit.session_name for hit in (await store.search_sessions("backup")).hits] == ["From the backup"]
        assert lost.id not in {session.id for session in (await store.list_sessions(SessionFilter())).sessions}
        await store.create_session(name="After")
    assert_whole(path)
    async with opened(path) as store:
        assert "After" in await names(store)


async def test_a_file_of_another_program_in_its_place_is_left_alone(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(tmp_path / "notes.db") as connection:
        connection.executescript("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');")
    before = (tmp_path / "notes.db").read_bytes()
    async with opened(path) as store:
        session = await store.create_session(name="Groceries")
        path.rename(tmp_path / "away.db")
        shutil.copy(tmp_path / "notes.db", path)
        for _ in range(2):
            with pytest.raises((Unavailable, BadResponse), match="is not a session store"):
                await store.rename_session(session.id, "Lost")
        assert path.read_bytes() == before
        assert "opened the new file" not in caplog.text
        (tmp_path / "away.db").replace(path)
        assert await names(store) == ["Groceries"]


async def test_a_failed_reopen_leaves_a_running_read_alone(path: Path, tmp_path: Path) -> None:
    with connected(tmp_path / "notes.db") as connection:
        connection.executescript("CREATE TABLE notes (text);")
    database = SqliteDatabase(str(path), busy_seconds=5, schema=STORE)

    def work(tx: Transaction) -> Row | None:
        (tmp_path / "notes.db").replace(path)
        with ThreadPoolExecutor() as worker:
            reopen = worker.submit(database._reopen_if_replaced)  # pyright: ignore[reportPrivateUsage]  otherwise a race
        assert isinstance(reopen.exception(), Unavailable)
        return tx.one("SELECT name FROM sessions")

    async with SqlBackend(database, StoreOptions()) as store:
        await store.create_session(name="Groceries")
        assert await database.read(work) == ("Groceries",)


async def test_the_log_of_the_old_file_is_never_applied_to_a_new_one(path: Path, tmp_path: Path) -> None:
    await wal_store_at(path, "Old")
    await store_at(tmp_path / "backup.db", "From the backup")
    async with opened(path) as store:
        await store.create_session(name="In the log")
        (tmp_path / "backup.db").replace(path)
        for call in (store.create_session(name="Lost"), store.list_sessions(SessionFilter())):
            with pytest.raises(Unavailable, match=r'or delete "sessions\.db-wal" if the new file has none'):
                await call
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert_whole(path)
    async with opened(path) as store:
        assert await names(store) == ["From the backup"]


async def test_a_file_restored_with_its_log_keeps_the_changes_in_the_log(path: Path, tmp_path: Path) -> None:
    await wal_store_at(path, "Old")
    async with opened(path) as store:
        await store.create_session(name="In the log")
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"backup.db{suffix}")
        await store.create_session(name="After the backup")
        for suffix in ("", "-wal"):
            (tmp_path / f"backup.db{suffix}").replace(f"{path}{suffix}")
        for call in (store.create_session(name="Lost"), store.list_sessions(SessionFilter())):
            with pytest.raises(Unavailable, match=r'put the new file in place again with its own "sessions\.db-wal"'):
                await call
    async with opened(path) as store:
        assert await names(store) == ["In the log", "Old"]
    assert_whole(path)


@pytest.mark.parametrize("other", [None, b"", b"the log of another file"])
async def test_no_change_is_acknowledged_once_the_log_is_gone(path: Path, other: bytes | None) -> None:
    await wal_store_at(path, "Old")
    log = Path(f"{path}-wal")
    async with opened(path) as store:
        await store.create_session(name="In the log")
        log.unlink()
        if other is not None:
            log.write_bytes(other)
        for call in (
            store.create_session(name="Lost"),
            store.list_sessions(SessionFilter()),
            store.search_sessions("Old"),
        ):
            with pytest.raises(Unavailable, match="write-ahead log was deleted or replaced while it was in use"):
                await call
    async with opened(path) as store:
        assert await names(store) == ["In the log", "Old"]
    assert_whole(path)


async def test_the_journal_of_the_old_file_is_never_applied_to_a_new_one(path: Path, tmp_path: Path) -> None:
    await store_at(tmp_path / "backup.db", "From the backup")
    async with opened(path) as store:
        await store.create_session(name="Old")
        (tmp_path / "backup.db").replace(path)
        Path(f"{path}-journal").write_bytes(b"what a killed program left")
        with pytest.raises(Unavailable, match=r'or delete "sessions\.db-journal" if'):
            await store.create_session(name="Lost")
