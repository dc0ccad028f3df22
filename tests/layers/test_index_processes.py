"""Several processes on one index, ones that are killed while they update it, and disks that refuse to store it."""

import os
import random
import resource
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import NewMessage, SearchPage

from ..support.claude_transcripts import Transcript, conversation
from ..support.store_processes import PATIENCE, context, obey_permissions, run_together

KILLS = int(os.environ.get("KILLS", "2"))
SESSIONS, MESSAGES = 12, 10
SEARCHERS, APPENDS = 2, 4
NOW = datetime(2026, 1, 2, tzinfo=UTC)
pytestmark = pytest.mark.slow


@asynccontextmanager
async def _indexed(folder: Path) -> AsyncGenerator[Indexed]:
    inner = open_backend(f"claude-code://{folder}", data_folder=str(folder / "data"))
    async with Indexed(inner, IndexStore(folder / "cache" / "index.db"), source="tests") as backend:
        yield backend


async def _ignore(done: int, total: int) -> None: ...


async def _searched(folder: Path, query: str) -> SearchPage:
    async with _indexed(folder) as backend:
        return await backend.search_sessions(query, limit=50)


def _transcript(texts: Sequence[str], number: int) -> Transcript:
    runs = [[NewMessage(role="user", text=text)] for text in texts]
    return conversation(runs, NOW, name=f"session {number}", number=number)


def write_sessions(folder: Path) -> None:
    for number in range(1, SESSIONS + 1):
        texts = [f"apple {number} {place}" for place in range(MESSAGES)]
        _transcript(texts, number).write(folder, NOW + timedelta(minutes=number))


def update_index(folder: Path) -> None:
    """Run in a process."""

    async def main() -> None:
        async with _indexed(folder) as backend:
            await backend.update_index(_ignore)

    anyio.run(main)


def search(folder: Path, together: Barrier, number: int) -> None:
    """Run in a process: append a message to a session of its own and search for it, again and again."""

    async def main() -> None:
        async with _indexed(folder) as backend:
            together.wait()
            texts = [f"searcher {number}"]
            for step in range(APPENDS):
                texts.append(f"pear {number} {step}")
                _transcript(texts, 1000 + number).write(folder)
                while True:
                    page = await backend.search_sessions(f'"pear {number}"', limit=50)
                    assert "damaged" not in page.note and "can't be used" not in page.note
                    if page.complete:
                        break
                assert len(page.hits) == step + 1

    anyio.run(main)


def test_processes_that_share_an_index_find_all_once_it_is_complete(tmp_path: Path) -> None:
    together = context().Barrier(SEARCHERS)
    run_together([context().Process(target=search, args=(tmp_path, together, number)) for number in range(SEARCHERS)])


def test_an_index_whose_updates_were_killed_is_intact_and_becomes_complete(tmp_path: Path) -> None:
    chance = random.Random(7)
    write_sessions(tmp_path)
    seconds = 0.0
    for number in range(-2, KILLS):
        for path in (tmp_path / "cache").glob("index.db*"):
            path.unlink()
        if number < 0:  # the first process is slower, since modules are imported
            begin = time.perf_counter()
            run_together([context().Process(target=update_index, args=(tmp_path,))])
            seconds = time.perf_counter() - begin
            continue
        process = context().Process(target=update_index, args=(tmp_path,))
        process.start()
        process.join(chance.uniform(0.3, 1) * seconds)
        process.kill()
        process.join(PATIENCE)
        page = anyio.run(_searched, tmp_path, f'"apple {number % SESSIONS + 1}"')
        assert (len(page.hits), page.complete, page.note) == (MESSAGES, True, "")
        connection = sqlite3.connect(tmp_path / "cache" / "index.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (SESSIONS,)
        connection.close()


async def test_without_a_place_for_the_index_the_sessions_themselves_are_searched(tmp_path: Path) -> None:
    conversation([], NOW, name="apple", number=1).write(tmp_path)
    (tmp_path / "cache").write_bytes(b"")  # no folder, and none can be made
    page = await _searched(tmp_path, "apple")
    assert [hit.session_name for hit in page.hits] == ["apple"]
    assert page.note.startswith("The search index can't be used, so the sessions themselves were read:")


@pytest.mark.parametrize("size", [8_000, 50_000])
async def test_on_a_full_disk_the_sessions_themselves_are_searched(size: int, tmp_path: Path) -> None:
    write_sessions(tmp_path)
    async with _indexed(tmp_path) as backend:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))  # no file can grow beyond that
        try:
            page = await backend.search_sessions("apple 7 3", limit=50)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert len(page.hits) >= 1
    assert page.note.startswith("The search index can't be used, so the sessions themselves were read:")


def search_without_rights(folder: Path) -> None:
    """Run in a process that can't write to the folder of the index."""
    obey_permissions()
    page = anyio.run(_searched, folder, "apple")
    assert ([hit.session_name for hit in page.hits], page.complete, page.note) == (["apple"], True, "")
    conversation([], NOW, name="apple", number=2).write(folder)
    page = anyio.run(_searched, folder, "apple")
    assert ([hit.session_name for hit in page.hits], page.complete) == (["apple", "apple"], True)
    assert page.note.startswith("The search index can't be used, so the sessions themselves were read:")


@pytest.mark.parametrize("folder_mode", [0o500, 0o700])
def test_an_index_that_can_not_be_written_to_is_used_as_long_as_it_is_current(folder_mode: int, tmp_path: Path) -> None:
    conversation([], NOW, name="apple", number=1).write(tmp_path)
    assert anyio.run(_searched, tmp_path, "apple").complete
    (tmp_path / "cache" / "index.db").chmod(0o400)
    (tmp_path / "cache" / "index.locks").chmod(0o500)
    (tmp_path / "cache").chmod(folder_mode)
    before = (tmp_path / "cache" / "index.db").read_bytes()
    run_together([context().Process(target=search_without_rights, args=(tmp_path,))])
    (tmp_path / "cache").chmod(0o700)
    assert (tmp_path / "cache" / "index.db").read_bytes() == before


def search_without_a_cache(folder: Path) -> None:
    """Run in a process that can't create the folder of the index."""
    obey_permissions()
    page = anyio.run(_searched, folder, "apple")
    assert ([hit.session_name for hit in page.hits], page.complete) == (["apple"], True)
    assert page.note.startswith("The search index can't be used, so the sessions themselves were read:")


def test_without_the_right_to_create_an_index_the_sessions_themselves_are_searched(tmp_path: Path) -> None:
    conversation([], NOW, name="apple", number=1).write(tmp_path)
    (tmp_path / "cache").mkdir(mode=0o500)
    run_together([context().Process(target=search_without_a_cache, args=(tmp_path,))])
    assert not list((tmp_path / "cache").iterdir())
