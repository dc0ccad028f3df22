"""Migrations on SQLite: older files are migrated, newer ones are left alone."""

import sqlite3
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.database.sqlite_schema import MIGRATIONS
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, Unavailable
from mcp_sessions.models import HistoryQuery, SessionFilter

from ...support.store_files import assert_whole, connected, contents, opened, shape
from ...support.store_processes import context, run_together

SHAPES = Path(__file__).parent / "shapes"


def _make(path: Path, version: int) -> None:
    with connected(path) as connection:
        connection.executescript((SHAPES / f"v{version}.sql").read_text())


def _version(path: Path) -> int:
    with connected(path) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_each_schema_version_has_a_file_for_tests(version: int) -> None:
    assert (SHAPES / f"v{version}.sql").exists()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_migration_steps_never_change(tmp_path: Path, version: int) -> None:
    _make(tmp_path / "frozen.db", version)
    with connected(tmp_path / "stepped.db") as connection:
        for step in MIGRATIONS[:version]:
            connection.executescript(step)
    assert shape(tmp_path / "stepped.db") == shape(tmp_path / "frozen.db")


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_older_file_is_migrated_to_the_current_schema(tmp_path: Path, version: int) -> None:
    _make(tmp_path / "old.db", version)
    for name in ("old.db", "new.db"):
        async with opened(tmp_path / name):
            pass
        assert _version(tmp_path / name) == len(MIGRATIONS)
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")
    assert_whole(tmp_path / "old.db")


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_older_file_keeps_its_data(path: Path, version: int) -> None:
    _make(path, version)
    async with opened(path) as store:
        listed = (await store.list_sessions(SessionFilter())).sessions
        assert [session.id for session in listed] == ["teamm234", "romee234"]
        archived = (await store.list_sessions(SessionFilter(archived=True))).sessions
        assert [session.id for session in archived] == ["awayy234"]
        session = await store.get_session("romee234")
        assert (session.name, session.agent_id, session.user_id) == ("Trip to Rome", "planner", "ann")
        assert session.state == {"step": 3, "plan": ["fly", None], "ratio": 0.1}
        assert (session.metadata, session.summary) == ({"source": "web"}, "They asked for the weather.")
        assert (session.version, session.message_count, session.run_count) == ("4", 5, 2)
        history = (await store.get_session_history("romee234", HistoryQuery(include_tools=True))).messages
        assert [message.role for message in history] == ["user", "assistant", "tool", "assistant", "user"]
        assert history[1].tool_calls[0].arguments == '{"city":"Rome"}'
        assert history[2].tool_name == "get_weather"
        assert history[4].attachments[0].url == "https://example.org/map.png"
        ann = store.for_caller(Caller(user_id="ann"))
        for query in ("rome", "weather", "größe", "東京"):
            assert {hit.session_id for hit in (await ann.search_sessions(query)).hits} == {"romee234"}
        assert (await store.search_sessions("thrown")).hits == ()
        await store.restore_session("throw234")
        assert (await store.get_session_history("throw234")).messages[0].text == "Be brief."
        await store.update_session_state("romee234", {"step": 4}, expected_version="4")
    assert_whole(path)


@pytest.mark.parametrize("above", [1, 1000])
async def test_a_file_of_a_newer_version_is_left_alone(path: Path, above: int) -> None:
    _make(path, 1)
    with connected(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + above}")
    before = contents(path.parent)
    with pytest.raises(Unavailable, match=r"newer mcp-sessions .* the file was not changed"):
        async with opened(path):
            pass
    assert contents(path.parent) == before


def open_at_once(path: Path, together: Barrier) -> None:
    """Run in each process."""

    async def main() -> None:
        together.wait()
        async with opened(path) as store:
            await store.create_session(name="Mine")

    anyio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("exists", [False, True])
def test_processes_that_open_a_file_together_migrate_it_once(path: Path, exists: bool) -> None:
    if exists:
        _make(path, 1)
    processes = context()
    together = processes.Barrier(10)
    run_together([processes.Process(target=open_at_once, args=(path, together)) for _ in range(10)])
    assert _version(path) == len(MIGRATIONS)
    with connected(path) as connection:
        assert connection.execute("SELECT count(*) FROM sessions WHERE name = 'Mine'").fetchone() == (10,)
    assert_whole(path)


async def test_an_interrupted_migration_is_rolled_back(path: Path) -> None:
    with connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[0].split(";\n")[:5]:
            connection.execute(statement)
    async with opened(path) as store:
        with pytest.raises(NotFound):
            await store.get_session("absent")
    assert_whole(path)


def test_a_step_is_split_into_its_statements() -> None:
    for step in MIGRATIONS:
        assert all(sqlite3.complete_statement(f"{statement};") for statement in step.split(";\n"))
