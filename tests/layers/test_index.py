"""The search index over a folder of JSON files: what its file holds, and what happens to it."""

# ruff: noqa: ASYNC240 - the files are on a local disk

import json
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.database.opening import sqlite_database
from mcp_sessions.backends.layers.index import Indexed, IndexStore, labels, schema, store, tables
from mcp_sessions.backends.layers.index.texts import NewText, Text, insert_texts
from mcp_sessions.errors import Unavailable
from mcp_sessions.models import HistoryQuery, SearchPage


def _write(folder: Path, session_id: str, *texts: str, name: str = "", project: str = "") -> None:
    messages = [{"role": "user", "text": text} for text in texts]
    kept: dict[str, object] = {
        "user_id": "",
        "name": name,
        "project": project,
        "type": "agent",
        "agent_id": "",
        "state": {},
        "metadata": {},
    }
    times = {"created_at": "2026-01-02T03:04:05+00:00", "archived_at": None}
    folder.mkdir(exist_ok=True)
    (folder / f"{session_id}.json").write_text(json.dumps(kept | times | {"messages": messages}), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "sessions", "a", "first apple", "second apple", name="Fruit")
    return tmp_path / "sessions"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.db"


def _read(file: Path) -> bytes:
    """Return the bytes of the index and of the files that SQLite keeps beside it."""
    return b"".join(path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))


def _damage(file: Path, offset: int) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:offset] + b"\xff" * (len(data) - offset))


@asynccontextmanager
async def _indexed(folder: Path, file: Path) -> AsyncGenerator[SessionBackend]:
    async with Indexed(JsonFolder(folder), IndexStore(file), source="tests") as backend:
        yield backend


async def _search(folder: Path, file: Path, query: str) -> SearchPage:
    async with _indexed(folder, file) as backend:
        return await backend.search_sessions(query)


def _found(page: SearchPage) -> Sequence[tuple[str, str]]:
    assert (page.complete, page.note) == (True, "")
    return [(hit.session_id, hit.snippet) for hit in page.hits]


async def test_the_index_is_opened_by_the_first_search_and_private(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        await backend.get_session_history("a", HistoryQuery())
        assert not file.exists()
        assert _found(await backend.search_sessions("apple")) == [("a", "second apple"), ("a", "first apple")]
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_what_changed_since_the_last_search_is_found_by_the_next(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        assert _found(await backend.search_sessions("apple"))
        _write(folder, "a", "first pear", "second apple", name="Fruit")
        _write(folder, "b", "third apple")
        assert sorted(_found(await backend.search_sessions("apple"))) == [("a", "second apple"), ("b", "third apple")]
        assert _found(await backend.search_sessions("pear")) == [("a", "first pear")]
        await backend.rename_session("b", "Vegetables")
        assert _found(await backend.search_sessions("vegetables")) == [("b", "")]


async def test_a_session_that_is_gone_leaves_the_index(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        assert _found(await backend.search_sessions("apple"))
        (folder / "a.json").unlink()
        assert _found(await backend.search_sessions("apple")) == []
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    connection.close()


async def test_neither_texts_nor_credentials_are_in_the_file(folder: Path, file: Path) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6" * 3
    _write(folder, "b", f"my token is {secret} and apples are red")
    assert [hit[0] for hit in _found(await _search(folder, file, "apples are"))] == ["b"]
    data = _read(file).lower()
    assert b"apples are red" not in data
    assert secret.lower().encode() not in data
    assert secret.lower()[4:].encode() not in data


@pytest.mark.parametrize("offset", [0, 4096, 8192])
async def test_a_damaged_index_is_made_anew(folder: Path, file: Path, offset: int) -> None:
    assert _found(await _search(folder, file, "apple"))
    _damage(file, offset)
    page = await _search(folder, file, "apple")
    assert (len(page.hits), page.complete) == (2, True)
    assert page.note == "The search index was damaged, so a new one was made."
    assert len(_found(await _search(folder, file, "apple"))) == 2


async def test_an_index_of_a_newer_version_is_neither_used_nor_changed(folder: Path, file: Path) -> None:
    assert _found(await _search(folder, file, "apple"))
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    before = _read(file)
    with pytest.raises(Unavailable, match="newer"):
        await _search(folder, file, "apple")
    assert _read(file) == before


@pytest.mark.parametrize("version", range(1, len(schema.SQLITE.migrations)))
async def test_an_index_of_an_earlier_version_is_filled_anew(folder: Path, file: Path, version: int) -> None:
    earlier = schema.SQLITE._replace(migrations=schema.SQLITE.migrations[:version])
    row = (
        "INSERT INTO sessions (source, id, owner, changed_at, read_at, is_readable) VALUES ('tests', 'a', '', 1, 1, 1)"
    )
    database = sqlite_database(f"sqlite:///{file}", earlier, seconds=5)
    await database.open(lambda tx: False)
    await database.write(lambda tx: tx.run(row))
    await database.close()
    assert len(_found(await _search(folder, file, "apple"))) == 2


async def test_a_search_during_another_update_searches_what_is_indexed(folder: Path, file: Path) -> None:
    index = IndexStore(file)
    async with Indexed(JsonFolder(folder), index, source="tests") as backend:
        assert _found(await backend.search_sessions("apple"))
        _write(folder, "b", "third apple")
        with index.sync_lock("tests") as is_held:
            assert is_held
            page = await backend.search_sessions("apple")
        assert ([hit.session_id for hit in page.hits], page.complete) == (["a", "a"], False)
        assert "Repeat the call" in page.note
        assert len(_found(await backend.search_sessions("apple"))) == 3


async def test_the_doctor_says_how_large_the_index_is_and_what_it_covers(folder: Path, file: Path) -> None:
    async def line() -> str:
        checks: list[str] = []
        indexed = Indexed(JsonFolder(folder), IndexStore(file), source="tests")
        await indexed.examine(lambda check: checks.append(f"{check.status}: {check.text.removeprefix(str(file))}"))
        return checks[-1]

    def change(statement: str) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    assert await line() == "ok:  does not exist yet; the first search creates it"
    assert _found(await _search(folder, file, "apple"))
    assert re.fullmatch(
        r"ok:  \(0\.\d MB\) has 1 session of this system: all that there were at 2\d{3}-\d\d-\d\d \d\d:\d\d UTC\. "
        r"The next search adds newer messages",
        await line(),
    )
    change("DELETE FROM marks")
    change("UPDATE sessions SET is_readable = 0")
    assert (await line()).endswith(
        "has only 1 session of this system, not all yet. Searches add the others; mcp-sessions index adds them at "
        "once. 1 could not be read"
    )
    change("PRAGMA user_version = 1000")
    assert (await line()).startswith("warning:  can't be used: a newer mcp-sessions made")
    _damage(file, 0)
    assert await line() == "warning:  is damaged; the next search makes a new one"
    shutil.rmtree(file.with_suffix(".locks"))  # then it may be a file of another kind
    assert (await line()).startswith("warning:  is no search index")
    file.write_bytes(b"")
    assert await line() == "ok:  is empty; the first search fills it"


async def test_an_index_that_is_deleted_while_it_is_used_is_made_anew(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        assert len(_found(await backend.search_sessions("apple"))) == 2
        file.unlink()
        assert len(_found(await backend.search_sessions("apple"))) == 2
        assert file.exists()


async def test_an_index_that_another_program_locks_is_not_used(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.05)
    async with _indexed(folder, file) as backend:
        assert _found(await backend.search_sessions("apple"))
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="search index can't be used"):
            await backend.search_sessions("apple")
        connection.close()
        assert _found(await backend.search_sessions("apple"))


async def test_a_file_that_is_no_index_is_left_alone(folder: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database, but mine\n" * 1000)
    with pytest.raises(Unavailable, match="is no search index"):
        await _search(folder, notes, "apple")
    assert notes.read_text() == "not a database, but mine\n" * 1000


async def test_an_index_that_another_process_rebuilt_is_opened_again(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        assert len((await backend.search_sessions("apple")).hits) == 2
        for path in file.parent.glob(f"{file.name}*"):
            if path.is_file():
                path.unlink()
        assert _found(await _search(folder, file, "apple"))
        page = await backend.search_sessions("apple")
        assert (len(page.hits), page.complete, page.note) == (2, True, "")


async def test_a_session_that_moved_to_another_folder_is_found_there(folder: Path, file: Path) -> None:
    async with _indexed(folder, file) as backend:
        for project in ("/w/app", "/w/app2"):
            _write(folder, "b", "an apple", name="an apple", project=project)
            hits = (await backend.search_sessions("apple", project=project)).hits
            assert [hit.session_id for hit in hits] == ["b", "b"]
        assert _found(await backend.search_sessions("apple", project="/w/app")) == []


async def test_an_index_made_before_there_were_projects_is_filled_anew(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder, "b", "an apple", project="/w/app")
    os.utime(folder / "b.json", (1e9, 1e9))  # a session that changed just now would be read again in any case

    def no_parts(folder: str) -> tuple[str, ...]:
        return ()

    with monkeypatch.context() as patch:
        patch.setattr(schema, "SQLITE", schema.SQLITE._replace(migrations=schema.SQLITE.migrations[:1]))
        patch.setattr(labels, "folder_parts", no_parts)
        assert _found(await _search(folder, file, "an")) == [("b", "an apple")]
    async with _indexed(folder, file) as backend:
        assert _found(await backend.search_sessions("apple", project="/w")) == [("b", "an apple")]
        assert len(_found(await backend.search_sessions("apple"))) == 3


async def test_copies_of_a_hit_are_looked_for_only_among_the_messages_of_the_same_second(
    folder: Path, file: Path
) -> None:
    async with _indexed(folder, file) as backend:
        await backend.search_sessions("apple")
    with closing(sqlite3.connect(file)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {tables.PLACES} WHERE p.key IN (1){tables.NO_COPY}").fetchall()
    assert any("q USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in step for *_, step in plan), plan


async def test_each_message_that_is_appended_to_a_large_index_writes_few_pages(file: Path) -> None:
    file.parent.mkdir()
    database = sqlite_database(f"sqlite:///{file}", schema.SQLITE, seconds=5)
    await database.open(lambda tx: False)

    def insert(tx: Transaction, first: int, count: int) -> set[int]:
        """Insert texts. Return the pages that there were before."""
        pages = {row[0] for row in tx.all("SELECT id FROM text_index_data")}
        texts = [
            " ".join(f"w{7 * number + place**2}" for place in range(200)) for number in range(first, first + count)
        ]
        insert_texts(tx, [NewText(1, "label", Text("message", f"{first}", 1, text), b"") for text in texts])
        return pages

    for first in range(0, 4_000, 400):
        await database.write(partial(insert, first=first, count=400))
    pages = [await database.write(partial(insert, first=first, count=1)) for first in range(4_000, 4_150)]
    await database.close()
    written = [len(after - before) for before, after in pairwise(pages)]
    assert max(written) < 20, written
