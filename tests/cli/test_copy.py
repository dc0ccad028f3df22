"""`mcp-sessions copy`: a store is copied completely, continues after an interruption, and overwrites nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcp_sessions import open_backend

from ..support.copied_store import copy, fill, require_same
from ..support.store_files import assert_whole


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def test_a_copied_store_equals_its_source(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source)
    done = copy(source, target)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{len(ids)} sessions with ")
    await require_same(source, target, ids)


async def test_an_interrupted_copy_continues(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source)
    assert copy(source, target).status == 0
    with closing(sqlite3.connect(tmp_path / "b.db")) as half:
        half.execute("PRAGMA foreign_keys = ON")
        half.execute("DELETE FROM message_index WHERE rowid IN (SELECT key FROM messages WHERE session_key > 5)")
        half.execute("DELETE FROM name_index WHERE rowid > 5")
        half.execute("DELETE FROM sessions WHERE key > 5")
        half.commit()
    done = copy(source, target)
    assert (done.status, done.err) == (0, "")
    assert "; 5 of the sessions were there already" in done.out
    await require_same(source, target, ids)


async def test_sessions_changed_since_they_were_copied_are_reported_and_kept(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source)
    assert copy(source, target).status == 0
    async with open_backend(target) as backend:
        await backend.rename_session(ids[0], "changed here")
    done = copy(source, target)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"mcp-sessions: not the same in both stores: {ids[0]}. ")
    async with open_backend(target) as backend:
        assert (await backend.get_session(ids[0])).name == "changed here"


async def test_the_comparison_detects_a_changed_message(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source)
    assert copy(source, target).status == 0
    with closing(sqlite3.connect(tmp_path / "b.db")) as other:
        other.execute("UPDATE messages SET text = text || ' ' WHERE key = (SELECT max(key) FROM messages)")
        other.commit()
    assert f"not the same in both stores: {ids[-1]}. " in copy(source, target).err


async def test_a_target_with_other_sessions_is_refused(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    await fill(source)
    (other,) = await fill(target, 1)
    done = copy(source, target)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --to: the target has sessions of its own, such as")
    async with open_backend(target) as backend:
        assert (await backend.get_session(other)).id == other
    with closing(sqlite3.connect(tmp_path / "b.db")) as store:
        assert store.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_ids_that_were_ever_used_stay_reserved(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    await fill(source, 1)
    with closing(sqlite3.connect(tmp_path / "a.db")) as store:
        store.execute("INSERT INTO purged_ids VALUES ('gone2345')")
        store.commit()
    for _ in range(2):
        assert copy(source, target).status == 0
    with closing(sqlite3.connect(tmp_path / "b.db")) as store:
        assert store.execute("SELECT id FROM purged_ids").fetchall() == [("gone2345",)]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        for statement in statements:
            store.execute(statement)


async def test_sessions_that_the_target_has_purged_are_not_copied_again(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source, 3)  # the last is deleted
    change(tmp_path / "a.db", "UPDATE sessions SET purge_at = 1 WHERE purge_at > 0")
    dones = [copy(source, target) for _ in range(3)]
    assert [(done.status, done.err) for done in dones] == [(0, "")] * 3
    assert [done.out.split(" with ")[0] for done in dones] == ["3 sessions", "2 sessions", "2 sessions"]
    for path in (tmp_path / "b.db", tmp_path / "a.db"):
        async with open_backend(url(path)) as backend:
            assert (await backend.get_session(ids[0])).id == ids[0]
        with closing(sqlite3.connect(path)) as store:
            assert store.execute("SELECT id FROM purged_ids").fetchall() == [(ids[2],)]
        assert_whole(path)


async def test_a_store_that_has_a_purged_session_again_can_be_opened(tmp_path: Path) -> None:
    """Open a store as earlier versions of the copy left it."""
    ids = await fill(url(tmp_path / "a.db"), 3)
    change(tmp_path / "a.db", "UPDATE sessions SET purge_at = 1 WHERE purge_at > 0")
    change(tmp_path / "a.db", f"INSERT INTO purged_ids VALUES ('{ids[2]}')")
    async with open_backend(url(tmp_path / "a.db")) as backend:
        assert (await backend.get_session(ids[0])).id == ids[0]
    assert_whole(tmp_path / "a.db")


async def test_sessions_that_the_source_has_purged_since_are_purged_in_the_target(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source, 3)
    assert copy(source, target).status == 0
    change(tmp_path / "a.db", "UPDATE sessions SET purge_at = 1 WHERE purge_at > 0")
    async with open_backend(source):
        pass
    done = copy(source, target)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("2 sessions with ")
    with closing(sqlite3.connect(tmp_path / "b.db")) as store:
        assert store.execute("SELECT count(*) FROM sessions WHERE id = ?", (ids[2],)).fetchone() == (0,)
    assert_whole(tmp_path / "b.db")


async def test_sessions_purged_in_the_target_and_restored_in_the_source_are_reported(tmp_path: Path) -> None:
    source, target = url(tmp_path / "a.db"), url(tmp_path / "b.db")
    ids = await fill(source, 3)
    assert copy(source, target).status == 0
    change(tmp_path / "b.db", "UPDATE sessions SET purge_at = 1 WHERE purge_at > 0")
    async with open_backend(source) as backend:
        await backend.restore_session(ids[2])
    done = copy(source, target)
    assert (done.status, done.out) == (1, "")
    assert f"not the same in both stores: {ids[2]}. " in done.err


async def test_a_copy_purges_nothing_in_its_source(tmp_path: Path) -> None:
    source = url(tmp_path / "a.db")
    await fill(source, 3)
    change(tmp_path / "a.db", "UPDATE sessions SET purge_at = 1 WHERE purge_at > 0")
    before = (tmp_path / "a.db").read_bytes()
    assert copy(source, url(tmp_path / "b.db")).status == 0
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize(
    ("sessions", "told"),
    [
        (2, ""),
        (3, "1 of them has no user: authenticated callers don't see it."),
        (6, "2 of them have no user: authenticated callers don't see them."),
    ],
)
async def test_sessions_without_a_user_are_counted(sessions: int, told: str, tmp_path: Path) -> None:
    source = url(tmp_path / "a.db")
    await fill(source, sessions)
    done = copy(source, url(tmp_path / "b.db"))
    assert done.out.endswith(f"the same in both.{told and f' {told}'}\n")


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (
            "sqlite:///{}/none.db",
            "sqlite:///{}/b.db",
            "--from: the file does not exist. Name one with a session store; ",
        ),
        ("sqlite:///{}/a.db/none.db", "sqlite:///{}/b.db", "--from: the file does not exist."),
        ("sqlite:///:memory:", "sqlite:///{}/b.db", "--from: the file does not exist."),
        (
            f"sqlite:///{'x' * 300}",
            "sqlite:///{}/b.db",
            "--from: the store's file can't be opened. Check its path and permissions.",
        ),
        (
            "sqlite:///{}",
            "sqlite:///{}/b.db",
            "--from: the store's file can't be opened. Check its path and permissions.",
        ),
        ("sqlite:///{}/a.db", "sqlite:///{}", "--to: the store's file can't be opened. Check its path and"),
        (
            "sqlite:///{}/a.db",
            "sqlite:///{}/a.db/b.db",
            "--to: the store's folder can't be created (File exists). Choose another path.",
        ),
        ("postgresql://u@127.0.0.1:1/d", "sqlite:///{}/b.db", "--from: PostgreSQL can't be reached. "),
        ("sqlite:///{}/a.db", "postgresql://u@127.0.0.1:1/d", "--to: PostgreSQL can't be reached. "),
        ("sqlite:///{}/a.db", "sqlite:///{}/a.db", "--to can't be the same as --from"),
        ("ftp:", "sqlite:///{}/b.db", "--from: no backend has this URL's scheme. It must begin with sqlite: or"),
        ("agentos+http://127.0.0.1:1?timeout=1", "sqlite:///{}/b.db", "--from: AgentOS can't be reached"),
        (
            "sqlite:///{}/a.db",
            "agentos+http://127.0.0.1:1",
            "--to: AgentOS has no append_messages, so nothing can be copied into it. Name a store: sqlite:///PATH",
        ),
        (
            "agentos+http://127.0.0.1:1",
            "guayaba:",
            "--to: Guayaba has no create_session, append_messages, update_session, so nothing can be copied into it",
        ),
        (
            "sqlite:///{}/a.db",
            "opencode+http://127.0.0.1:1",
            "--to: opencode accepts no messages of the role assistant or system or tool, so nothing can be copied",
        ),
        ("sqlite:///{}/a.db", "postgresql://[", "--to: "),
    ],
)
async def test_the_error_about_a_store_that_cannot_be_copied_is_one_line(
    source: str, target: str, says: str, tmp_path: Path
) -> None:
    await fill(url(tmp_path / "a.db"), 1)
    done = copy(source.format(tmp_path), target.format(tmp_path))
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"mcp-sessions: {says}")
    assert not (tmp_path / "b.db").exists()
    assert not (tmp_path / "none.db").exists()
