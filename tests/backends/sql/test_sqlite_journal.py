"""The choice of a journal mode for a new file; existing files keep theirs."""

import sqlite3
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.database.sqlite_wal import wal_is_safe
from mcp_sessions.backends.filesystems import is_local

from ...support.store_files import connected, opened
from ...support.store_processes import context, run_together

Version = tuple[int, int, int]
FIXED, BROKEN = (3, 51, 3), (3, 51, 2)


def create_with(version: Version, path: Path, together: Barrier) -> None:
    """Run in a process that has this version of SQLite."""

    async def main() -> None:
        together.wait()
        async with opened(path) as store:
            await store.create_session(name="Kept")

    sqlite3.sqlite_version_info = version
    anyio.run(main)


def _journal(path: Path) -> str:
    with connected(path) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_is_used_only_with_versions_of_sqlite_that_are_safe(version: Version, is_safe: bool) -> None:
    assert wal_is_safe(version) is is_safe


async def test_a_new_file_gets_the_journal_mode_that_is_safe_with_this_sqlite(path: Path) -> None:
    async with opened(path) as store:
        await store.create_session()
    is_wal = wal_is_safe(sqlite3.sqlite_version_info) and is_local(path)
    assert (_journal(path) == "wal") is is_wal


async def test_a_fixed_sqlite_creates_a_wal_file_on_a_local_filesystem(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", FIXED)
    async with opened(path) as store:
        await store.create_session(name="Kept")
    assert (_journal(path) == "wal") is is_local(path)


async def test_a_broken_sqlite_creates_a_file_with_a_rollback_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", BROKEN)
    async with opened(path) as store:
        await store.create_session(name="Kept")
        assert path.with_name("sessions.db-journal").stat().st_size == 0
    assert _journal(path) != "wal"


@pytest.mark.parametrize(("version", "warnings"), [(FIXED, 0), (BROKEN, 1)])
async def test_a_wal_file_stays_wal_with_a_warning_if_that_is_unsafe(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: Version,
    warnings: int,
) -> None:
    async with opened(path) as store:
        session_id = (await store.create_session(name="Kept")).id
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    async with opened(path) as store:
        await store.rename_session(session_id, "Still there")
        assert (await store.get_session(session_id)).name == "Still there"
    assert _journal(path) == "wal"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
    assert caplog.text.count(str(path)) == warnings


async def test_a_file_with_a_rollback_journal_never_becomes_wal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", BROKEN)
    async with opened(path) as store:
        await store.create_session()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", FIXED)
    for _ in range(2):
        async with opened(path) as store:
            await store.create_session()
        assert _journal(path) != "wal"


@pytest.mark.slow
@pytest.mark.parametrize("version", [FIXED, BROKEN])
def test_processes_that_create_a_file_together_agree_on_its_journal(path: Path, version: Version) -> None:
    processes = context()
    together = processes.Barrier(10)
    run_together([processes.Process(target=create_with, args=(version, path, together)) for _ in range(10)])
    assert (_journal(path) == "wal") is (version == FIXED and is_local(path))
    with connected(path) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (10,)


@pytest.mark.parametrize(
    ("place", "local"),
    [
        ("/srv/local/sessions.db", True),
        ("/srv/share/sessions.db", False),
        ("/srv/share/disk/sessions.db", True),
        ("/srv/share and disk/sessions.db", True),
        ("/srv/my share/sessions.db", False),
        ("/srv/hidden/sessions.db", False),
    ],
)
def test_the_innermost_and_latest_mount_of_a_folder_decides(tmp_path: Path, place: str, local: bool) -> None:
    (tmp_path / "mounts").write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        "server:/share /srv/share nfs4 rw 0 0\n"
        "/dev/sdb1 /srv/share/disk xfs rw 0 0\n"
        "server:/mine /srv/my\\040share cifs rw 0 0\n"
        "/dev/sdc1 /srv/hidden ext4 rw 0 0\n"
        "server:/over /srv/hidden nfs rw 0 0\n"
    )
    assert is_local(Path(place), tmp_path / "mounts") is local


def test_without_a_mount_table_no_filesystem_counts_as_local(tmp_path: Path) -> None:
    assert not is_local(tmp_path, tmp_path / "absent")


def test_a_filesystem_is_local_only_if_its_type_is_known(tmp_path: Path) -> None:
    assert not is_local(Path("/proc/self"))
    assert is_local(tmp_path) is is_local(tmp_path / "absent" / "file")
    (tmp_path / "link").symlink_to("/proc/self")
    assert not is_local(tmp_path / "link" / "sessions.db")
