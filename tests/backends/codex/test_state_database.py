"""What Codex's database and index say of threads, also where they are damaged, missing or of another version."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_sessions.backends.codex.state_database import StateDatabase
from mcp_sessions.models import SessionFilter

from ...support.codex_rollouts import name_in_index, record, record_all
from .homes import (
    NOW,
    SECOND,
    copy_fixtures,
    labelled,
    listed,
    names_in,
    opened,
    rollout,
    session_of,
)


def without(home: Path) -> None:
    (home / "state_5.sqlite").unlink()


def garbage(home: Path) -> None:
    (home / "state_5.sqlite").write_bytes(b"garbage" * 1000)


def truncated(home: Path) -> None:
    path = home / "state_5.sqlite"
    path.write_bytes(path.read_bytes()[:20_000])


def other_table(home: Path) -> None:
    without(home)
    made = rollout()
    record(home, made, Path("x"))
    with sqlite3.connect(home / "state_5.sqlite") as connection:
        connection.execute("ALTER TABLE threads RENAME TO others")
    connection.close()


def folder(home: Path) -> None:
    without(home)
    (home / "state_5.sqlite").mkdir()


@pytest.mark.parametrize(
    ("damage", "has_note"),
    [(without, False), (garbage, True), (truncated, True), (other_table, False), (folder, False)],
)
async def test_without_a_readable_database_the_files_are_listed_and_a_note_says_so(
    tmp_path: Path, damage: Callable[[Path], None], has_note: bool
) -> None:
    home = copy_fixtures(tmp_path)
    damage(home)
    async with opened(home) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert len(page.sessions) == 11
        assert page.note.startswith("Codex's database can't be read") is has_note
        session = await backend.get_session(labelled("legacy_named"))
        assert session.name == "Legacy lantern notes"  # from the index
        assert (session.branch, session.total_tokens, session.updated_at) == (
            "master",
            30919,
            datetime(2026, 11, 28, 2, 34, 8, 712000, tzinfo=UTC),
        )
        assert (await backend.get_session(labelled("paginated"))).name.startswith("[[reason pondering the meadow]]")
        assert len(await listed(backend, archived=True)) == 2


async def test_columns_that_a_version_lacks_are_done_without(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    with sqlite3.connect(home / "state_5.sqlite") as connection:
        connection.execute("CREATE TABLE other AS SELECT rollout_path, id, title, archived, updated_at FROM threads")
        connection.execute("DROP TABLE threads")
        connection.execute("ALTER TABLE other RENAME TO threads")
    connection.close()
    session = await session_of(home, labelled("legacy_named"))
    assert (session.name, session.updated_at) == ("Legacy lantern notes", datetime(2026, 11, 28, 2, 34, 8, tzinfo=UTC))


async def test_a_text_in_the_database_that_is_no_utf_8_harms_no_other_text(tmp_path: Path) -> None:
    for text in ("one", "two"):
        made = rollout(text)
        record(tmp_path, made, made.write(tmp_path), name=text)
    with closing(sqlite3.connect(tmp_path / "state_5.sqlite")) as connection, connection:
        connection.execute("UPDATE threads SET name = CAST(x'61FF62' AS TEXT) WHERE name = 'one'")
        connection.execute("UPDATE threads SET name = x'00', tokens_used = 'many' WHERE name = 'two'")
    assert sorted(await names_in(tmp_path)) == ["a�b", "two"]


def test_a_database_that_was_not_read_in_time_is_read_again(tmp_path: Path) -> None:
    record_all(tmp_path, [(rollout(), Path("x"), {}) for _ in range(500)])
    database = StateDatabase(tmp_path)
    late, later = database.read(0), database.read(time.monotonic() + 60)
    assert (late.rows, late.note != "") == ({}, True)
    assert (len(later.rows), later.note) == (500, "")


async def test_an_index_that_is_no_file_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "session_index.jsonl").mkdir()
    rollout("thread", legacy=True).write(tmp_path)
    assert await names_in(tmp_path) == ["thread"]


async def test_the_name_of_a_paginated_thread_is_in_the_database_and_of_a_legacy_one_in_the_index(
    tmp_path: Path,
) -> None:
    paginated, legacy = rollout("first"), rollout("second", legacy=True, moment=NOW - SECOND)
    for made in (paginated, legacy):
        record(tmp_path, made, made.write(tmp_path), name="In the database")
        for name in ("Before", "In the index"):
            name_in_index(tmp_path, made.id, name)
    assert await names_in(tmp_path) == ["In the database", "In the index"]
    (tmp_path / "session_index.jsonl").unlink()
    assert await names_in(tmp_path) == ["In the database", "second"]


async def test_a_list_in_the_order_of_the_database_is_that_of_the_database_as_it_is_now(tmp_path: Path) -> None:
    made = [rollout(name) for name in ("one", "two")]
    paths = [each.write(tmp_path) for each in made]
    for path in (paths[0].parent, *paths[0].parent.parents[:3]):
        os.utime(path, (1e9, 1e9))
    async with opened(tmp_path) as backend:
        for newer, older in ((0, 1), (1, 0)):
            for place, time in ((newer, 2000), (older, 1000)):
                record(tmp_path, made[place], paths[place], updated_at_ms=time, name=f"{time}")
            for _ in range(2):
                assert [(row.id, row.name) for row in await listed(backend)] == [
                    (made[newer].id, "2000"),
                    (made[older].id, "1000"),
                ]
        rollout("not in the database", moment=NOW).write(tmp_path)
        assert len(await listed(backend)) == 3
