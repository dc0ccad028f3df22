"""Full disks and read-only files."""

import os
import resource
import signal
import sqlite3
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Unavailable
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.store_files import assert_whole, connected, contents, opened
from ...support.store_processes import context, obey_permissions, on_store, run_together

TEXT = "lorem ipsum " * 500


async def fill_the_disk(store: SessionBackend, path: Path) -> None:
    """Limit the size of this process's files, as on a full disk, and raise the limit step by step."""
    session = await store.create_session(name="Before", state={"a": 1})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 4096, 20_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (await _size(path) + room, hard))
        before = await store.get_session(session.id)
        acknowledged = before.message_count or 0
        with pytest.raises(Unavailable, match="nothing was changed"):
            while True:
                await store.append_messages(session.id, [NewMessage(role="user", text=TEXT)])
                acknowledged += 1
        for call in (
            store.create_session(name="Too much", metadata={"text": TEXT * 20}),
            store.update_session_state(session.id, {"text": TEXT * 20}),
        ):
            with pytest.raises(Unavailable):
                await call
        assert (await store.get_session(session.id)).message_count == acknowledged
        assert len((await store.list_sessions(SessionFilter())).sessions) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        await store.append_messages(session.id, [NewMessage(role="user", text=TEXT)])
        assert (await store.get_session(session.id)).message_count == acknowledged + 1
        assert (await store.get_session(session.id)).state == {"a": 1}


async def _size(path: Path) -> int:
    return (await anyio.Path(path).stat()).st_size


def open_on_a_full_disk(path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable):
            async with opened(path):
                pass

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    anyio.run(main)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))


def read_only(path: Path, session_id: str) -> None:
    """Open a file that this process may only read, even as root."""

    async def main() -> None:
        async with opened(path) as store:
            assert [session.id for session in (await store.list_sessions(SessionFilter())).sessions] == [session_id]
            assert (await store.get_session(session_id)).name == "Kept"
            assert len((await store.search_sessions("kept")).hits) == 1
            for call in (store.create_session(), store.rename_session(session_id, "Lost")):
                with pytest.raises(Unavailable, match="can't write to the store's file; nothing was changed"):
                    await call

    obey_permissions()
    anyio.run(main)


def rename_without_rights(path: Path, session_id: str, expected: str | None) -> None:
    """Rename a session in a file that obeys this process's permissions. `expected` is in the error, if one is due."""

    async def main() -> None:
        async with opened(path) as store:
            await store.rename_session(session_id, "Renamed")

    obey_permissions()
    if expected is None:
        anyio.run(main)
    else:
        with pytest.raises(Unavailable) as refusal:
            anyio.run(main)
        assert str(refusal.value) == f"this user can't write to {expected}; nothing was changed. Check the permissions."


def read_and_exit(path: Path) -> None:
    """Read a file in WAL mode, and leave its log behind as a killed program does."""
    obey_permissions()
    connection = sqlite3.connect(path)
    connection.execute("SELECT * FROM sessions").fetchall()
    os._exit(0)


async def _create(path: Path) -> str:
    async with opened(path) as store:
        return (await store.create_session(name="Kept")).id


def test_a_full_disk_is_reported_and_the_store_continues_when_there_is_space(path: Path) -> None:
    run_together([context().Process(target=on_store, args=(path, fill_the_disk, path))])
    assert_whole(path)


@pytest.mark.slow
def test_a_file_that_could_not_be_created_on_a_full_disk_is_created_later(path: Path) -> None:
    run_together([context().Process(target=open_on_a_full_disk, args=(path,))])
    run_together([context().Process(target=on_store, args=(path, fill_the_disk, path))])
    assert_whole(path)


def test_a_read_only_file_can_be_read(path: Path) -> None:
    session_id = anyio.run(_create, path)
    before = contents(path.parent)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    run_together([context().Process(target=read_only, args=(path, session_id))])
    path.parent.chmod(0o700)
    assert contents(path.parent) == before


FOLDER = "the folder of the store's file, where SQLite has to create a journal"


@pytest.mark.parametrize(
    ("journal_mode", "modes", "expected"),
    [
        ("WAL", {".": 0o500}, FOLDER),
        ("WAL", {".": 0o500, "sessions.db": 0o400}, f"{FOLDER} or to the store's file"),
        ("TRUNCATE", {".": 0o500}, None),
        ("TRUNCATE", {"sessions.db": 0o400}, "the store's file"),
        ("DELETE", {".": 0o500}, FOLDER),
    ],
)
def test_the_error_about_missing_rights_names_the_file_or_folder(
    path: Path, journal_mode: str, modes: dict[str, int], expected: str | None
) -> None:
    session_id = anyio.run(_create, path)
    with connected(path) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    if journal_mode == "DELETE":
        Path(f"{path}-journal").unlink(missing_ok=True)
    for name, mode in modes.items():
        (path.parent / name).chmod(mode)
    run_together([context().Process(target=rename_without_rights, args=(path, session_id, expected))])
    path.parent.chmod(0o700)


def test_the_error_about_a_read_only_log_names_it(path: Path) -> None:
    session_id = anyio.run(_create, path)
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o400)
    run_together([context().Process(target=read_and_exit, args=(path,))])
    path.chmod(0o600)
    run_together([context().Process(target=rename_without_rights, args=(path, session_id, '"sessions.db-shm"'))])
