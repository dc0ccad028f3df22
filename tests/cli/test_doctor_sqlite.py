"""`mcp-sessions doctor` on the embedded store: its report on the file. It changes nothing."""

# ruff: noqa: ASYNC240 - the files are on a local disk

import os
import sqlite3
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.database import sqlite_schema

from ..support.doctor import Examine, names, text_of
from ..support.store_files import connected, contents, opened

TOOLS = ("ok", "tools: 12 offered with these settings.")
STDIO = ("ok", "callers: the client that starts the server over stdio sees everybody's sessions.")


def test_a_missing_file_is_not_created(examined: Examine, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sessions.db"
    status, told = examined("--backend", f"sqlite:///{path}")
    assert (status, told[-3:]) == (0, [("ok", "operations: all 15."), TOOLS, STDIO])
    made = f"creates it and its folder, in {path.parent.parent}"
    assert ("ok", f"store: {path} does not exist yet; the first start {made}.") in told
    assert contents(tmp_path) == {}


async def test_a_store_is_not_changed(examined: Examine, path: Path) -> None:
    async with opened(path) as store:
        await store.create_session(name="Kept")
    before = contents(path.parent)
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert (status, names(told, "failed"), names(told, "warning")) == (0, [], [])
    assert ("ok", f"store: {path}: version 1.") in told
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    ("version", "status"), [((3, 51, 2), "warning"), ((3, 51, 3), "ok")], ids=["with the bug", "without"]
)
async def test_a_wal_that_this_sqlite_can_damage_is_a_warning(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str
) -> None:
    async with opened(path):
        pass
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    _, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert "write-ahead log" in text_of(told, "journal", status)


async def test_too_many_or_too_few_permissions_are_reported(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path):
        pass
    path.chmod(0o644)
    assert names((await run_sync(examined, "--backend", f"sqlite:///{path}"))[1], "warning") == ["permissions"]

    def nothing_may_be_written(path: str | Path, mode: int) -> bool:
        return mode == os.F_OK and Path(path).exists()  # who runs the tests may be root, who may all

    monkeypatch.setattr("os.access", nothing_may_be_written)
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert (status, names(told, "warning")) == (0, ["permissions", "permissions"])
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path}", "--read-only")
    assert (status, names(told, "warning")) == (0, ["permissions"])
    cannot = "this user can't write to the store's file or to \"sessions.db-journal\""
    assert ("ok", f"permissions: {cannot}, so sessions can only be read.") in told
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path}.other")
    assert (status, names(told, "failed")) == (1, ["backend"])
    path.with_suffix(".new").touch(0o600)
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path.with_suffix('.new')}", "--read-only")
    assert (status, names(told, "failed")) == (1, ["store"])


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        ("CREATE TABLE notes (text)", "is not a session store"),
        ("PRAGMA user_version = 99", "is not a session store"),
        ("PRAGMA application_id = 1835233395; PRAGMA user_version = 99", "newer mcp-sessions"),
    ],
)
def test_a_file_that_is_not_a_store_fails(examined: Examine, path: Path, spoil: str, text: str) -> None:
    with connected(path) as connection:
        connection.executescript(spoil)
    before = contents(path.parent)
    status, told = examined("--backend", f"sqlite:///{path}")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert text in text_of(told, "backend", "failed")
    assert contents(path.parent) == before


def test_an_impossible_path_fails(examined: Examine) -> None:
    status, told = examined("--backend", f"sqlite:///{'a' * 300}")
    assert (status, names(told, "failed")) == (1, ["backend"])


def test_changes_that_the_next_start_makes_to_the_file_are_reported(examined: Examine, path: Path) -> None:
    path.touch()
    assert "empty; the next start creates the store" in text_of(
        examined("--backend", f"sqlite:///{path}")[1], "store", "ok"
    )
    assert examined("--backend", "sqlite:///:memory:")[1][1][0] == "warning"


async def test_the_pending_migration_of_an_older_store_is_reported(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path):
        pass
    newer = sqlite_schema.STORE._replace(migrations=("the first", "the next"))
    monkeypatch.setattr(sqlite_schema, "STORE", newer)
    _, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert "the next start migrates it to 2" in text_of(told, "store", "ok")


def test_a_filesystem_that_may_be_remote_is_a_warning(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.backends.filesystems._LOCAL", frozenset[str]())
    assert names(examined("--backend", f"sqlite:///{path}")[1], "warning") == ["filesystem"]


def test_a_locked_file_fails_after_the_timeout(examined: Examine, path: Path) -> None:
    with connected(path) as connection:
        connection.executescript("CREATE TABLE notes (text); BEGIN EXCLUSIVE")
        status, told = examined("--backend", f"sqlite:///{path}", "--timeout", "0.1")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "locked the store for 0.1 s" in text_of(told, "backend", "failed")
