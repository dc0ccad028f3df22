"""Migrations on PostgreSQL: older schemas are migrated; newer and foreign ones are left alone."""

from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.database.postgres_schema import MIGRATIONS
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Forbidden, SessionsError, Unavailable
from mcp_sessions.models import HistoryQuery, SessionFilter

from ...support.databases import EmptyDatabase
from ...support.store_processes import context, run_together

SHAPES = Path(__file__).parent / "shapes"
PROCESSES = 10


def _make(postgres: EmptyDatabase, version: int) -> None:
    postgres.sql((SHAPES / f"postgres_v{version}.sql").read_text())


def _version(postgres: EmptyDatabase) -> int:
    ((version,),) = postgres.sql("SELECT version FROM mcp_sessions.mcp_sessions_version")
    return version


def _shape(postgres: EmptyDatabase) -> list[tuple[object, ...]]:
    """Return every column, index and constraint."""
    return [
        *postgres.sql(
            "SELECT table_name, column_name, data_type, is_nullable, is_identity FROM information_schema.columns"
            " WHERE table_schema = 'mcp_sessions' ORDER BY table_name, ordinal_position"
        ),
        *postgres.sql("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'mcp_sessions' ORDER BY 1"),
        *postgres.sql(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'mcp_sessions'::regnamespace ORDER BY 1, 2"
        ),
    ]


async def _refusal(url: str) -> SessionsError:
    with pytest.raises(SessionsError) as refused:
        async with open_backend(url):
            pass
    return refused.value


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_migration_steps_never_change(postgres: EmptyDatabase, version: int) -> None:
    stepped = EmptyDatabase(postgres.server, postgres.server.database())
    _make(postgres, version)
    with stepped.connected() as connection:
        connection.execute("CREATE SCHEMA mcp_sessions")
        connection.execute("SET search_path = mcp_sessions")
        for step in MIGRATIONS[:version]:
            connection.execute(step.encode())
    assert _shape(stepped) == _shape(postgres)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_older_schema_is_migrated_to_the_current_one(postgres: EmptyDatabase, version: int) -> None:
    new = EmptyDatabase(postgres.server, postgres.server.database())
    _make(postgres, version)
    for each in (postgres, new):
        async with each.opened():
            pass
        assert _version(each) == len(MIGRATIONS)
    assert _shape(postgres) == _shape(new)
    postgres.assert_whole()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_an_older_schema_keeps_its_data(postgres: EmptyDatabase, version: int) -> None:
    _make(postgres, version)
    async with postgres.opened() as store:
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
        ann = store.for_caller(Caller(user_id="ann"))
        for query in ("rome", "weather", "größe", "東京", "wea*"):
            assert {hit.session_id for hit in (await ann.search_sessions(query)).hits} == {"romee234"}
        assert (await store.search_sessions("thrown")).hits == ()
        await store.restore_session("throw234")
        assert (await store.get_session_history("throw234")).messages[0].text == "Be brief."
        await store.update_session_state("romee234", {"step": 4}, expected_version="4")
    postgres.assert_whole()


async def test_a_schema_of_a_newer_version_is_left_alone(postgres: EmptyDatabase) -> None:
    async with postgres.opened():
        pass
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = version + 1")
    shape = _shape(postgres)
    refusal = await _refusal(postgres.url)
    assert isinstance(refusal, Unavailable)
    assert "a newer mcp-sessions made this store (version 2; this program supports 1)" in refusal.text
    assert _shape(postgres) == shape


async def test_a_schema_with_other_tables_is_left_alone(postgres: EmptyDatabase) -> None:
    postgres.sql("CREATE SCHEMA mcp_sessions CREATE TABLE sessions (id TEXT)")
    shape = _shape(postgres)
    refusal = await _refusal(postgres.url)
    assert isinstance(refusal, Unavailable)
    assert "the database's schema mcp_sessions is not a session store" in refusal.text
    assert _shape(postgres) == shape


async def test_another_application_can_have_tables_with_the_same_names(postgres: EmptyDatabase) -> None:
    postgres.sql("CREATE TABLE sessions (id INTEGER)")
    postgres.sql("CREATE TABLE messages (id INTEGER)")
    async with postgres.opened() as store:
        session = await store.create_session(name="Trip")
        assert (await store.get_session(session.id)).name == "Trip"
    assert postgres.sql("SELECT * FROM public.sessions") == []


async def test_the_error_for_a_role_without_rights_has_the_statement_to_run(postgres: EmptyDatabase) -> None:
    role = f"weak {postgres.name}"
    postgres.sql(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'weak'")
    url = postgres.server.url(postgres.name, role, "weak")
    refusal = await _refusal(url)
    assert isinstance(refusal, Forbidden)
    command = f'CREATE SCHEMA mcp_sessions AUTHORIZATION "{role}"'
    assert refusal.text.endswith(f"Ask an administrator to run in this database: {command}")
    postgres.sql("CREATE SCHEMA mcp_sessions")
    refusal = await _refusal(url)
    assert isinstance(refusal, Forbidden)
    postgres.sql(f'GRANT USAGE ON SCHEMA mcp_sessions TO "{role}"')
    refusal = await _refusal(url)
    command = f'GRANT ALL ON SCHEMA mcp_sessions TO "{role}"'
    assert refusal.text.endswith(f"Ask an administrator to run in this database: {command}")
    postgres.sql(command)
    async with open_backend(url) as store:
        assert (await store.create_session(name="Trip")).name == "Trip"


async def test_a_role_with_only_read_rights_can_read(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session = await store.create_session(name="Trip")
    role = f"reader_{postgres.name}"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    postgres.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {role}")
    postgres.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA mcp_sessions TO {role}")
    async with open_backend(postgres.server.url(postgres.name, role, "reader")) as store:
        assert (await store.get_session(session.id)).name == "Trip"
        with pytest.raises(Forbidden, match=r"lacks a privilege in the schema mcp_sessions. Ask its owner to grant it"):
            await store.rename_session(session.id, "After")


async def test_a_read_only_database_can_be_read(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session = await store.create_session(name="Trip")
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    async with postgres.opened() as store:
        assert (await store.get_session(session.id)).name == "Trip"
        with pytest.raises(Unavailable, match=r"accepts no changes"):
            await store.rename_session(session.id, "After")


async def test_a_database_in_another_encoding_is_refused(postgres: EmptyDatabase) -> None:
    name = f"latin_{postgres.name}"
    postgres.server.sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    refusal = await _refusal(postgres.server.url(name))
    assert isinstance(refusal, Unavailable)
    assert "is encoded in LATIN1" in refusal.text


async def test_tables_that_are_dropped_while_in_use_are_reported(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        postgres.sql("DROP SCHEMA mcp_sessions CASCADE")
        for call in (store.list_sessions(SessionFilter()), store.create_session()):
            with pytest.raises(Unavailable, match=r"tables no longer exist. Restart"):
                await call
    async with postgres.opened() as store:
        await store.create_session()


def open_at_once(url: str, together: Barrier) -> None:
    """Run in each process."""

    async def main() -> None:
        together.wait()
        async with open_backend(url) as store:
            await store.create_session(name="Mine")

    anyio.run(main)


def test_processes_that_start_together_create_the_schema_once(postgres: EmptyDatabase) -> None:
    processes = context()
    together = processes.Barrier(PROCESSES)
    run_together([processes.Process(target=open_at_once, args=(postgres.url, together)) for _ in range(PROCESSES)])
    assert _version(postgres) == len(MIGRATIONS)
    assert postgres.sql("SELECT count(*) FROM mcp_sessions.sessions WHERE name = 'Mine'") == [(PROCESSES,)]
    postgres.assert_whole()
