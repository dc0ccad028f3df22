"""Connections to PostgreSQL: how they are made and pooled, and which settings they send."""

import socket
from collections.abc import AsyncGenerator
from time import time_ns

import anyio
import psycopg
import pytest
from psycopg import errors

from mcp_sessions.backends.database import postgres_connection
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.database.postgres_connection import delete_old_receipts
from mcp_sessions.backends.database.postgres_errors import ReadOnlyDatabase, statement_error
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Forbidden, SessionsError, Timeout, Unavailable
from mcp_sessions.models import SessionFilter

from ...support.databases import EmptyDatabase, until
from ...support.servers.postgres_proxy import Proxy, before


@pytest.fixture
async def proxy(postgres: EmptyDatabase) -> AsyncGenerator[Proxy]:
    async with before(postgres.server.port) as made:
        yield made


async def test_a_server_that_is_too_old_is_refused(postgres: EmptyDatabase, proxy: Proxy) -> None:
    ((version,),) = postgres.sql("SHOW server_version_num")
    major = str(int(version) // 10_000).encode()
    proxy.replaced = (b"server_version\0" + major, b"server_version\0" + b"13")
    with pytest.raises(Unavailable, match=r"the server is PostgreSQL 13; 14 or newer is needed\. Upgrade it\."):
        async with open_backend(postgres.url.replace(f":{postgres.server.port}/", f":{proxy.port}/")):
            pass
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []


async def test_a_closed_store_says_so_and_can_be_opened_again(postgres: EmptyDatabase) -> None:
    store = postgres.opened()
    for _ in range(2):
        with pytest.raises(Unavailable, match="the store is closed"):
            await store.list_sessions(SessionFilter())
        async with store:
            await store.list_sessions(SessionFilter())
    await until(lambda: not postgres.backends())


async def test_a_call_that_ends_after_its_store_leaves_no_connection(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()

    def work(tx: Transaction) -> object:
        return tx.one("SELECT pg_sleep(0.3)")

    async with anyio.create_task_group() as tasks, store:
        tasks.start_soon(database.read, work)
        await until(lambda: postgres.backends("state = 'active' AND query LIKE '%%pg_sleep%%'"))
    await until(lambda: not postgres.backends())


async def test_an_idle_connection_is_replaced_after_a_while(
    postgres: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with postgres.opened() as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(store.list_sessions, SessionFilter())
        (first, *_) = postgres.backends()
        monkeypatch.setattr(postgres_connection, "_IDLE_SECONDS", 0)
        await store.list_sessions(SessionFilter())
        await until(lambda: first not in postgres.backends())
        monkeypatch.undo()
        await store.list_sessions(SessionFilter())
        kept = postgres.backends()
        await store.list_sessions(SessionFilter())
        assert postgres.backends() == kept


async def test_a_silent_server_does_not_delay_the_start_beyond_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with anyio.fail_after(5), pytest.raises(Timeout, match=r"did not answer within 0\.3 s"):
            async with open_backend(f"postgresql://u:hunter2@127.0.0.1:{port}/db", timeout=0.3):
                pass


async def test_a_cancelled_start_leaves_no_connection(postgres: EmptyDatabase, proxy: Proxy) -> None:
    proxy.gate = anyio.Event()
    with anyio.fail_after(5), anyio.move_on_after(0.2) as scope:
        async with open_backend(postgres.url.replace(f":{postgres.server.port}/", f":{proxy.port}/")):
            pass
    assert scope.cancelled_caught
    proxy.gate.set()
    await until(lambda: proxy.passed)
    await until(lambda: not postgres.backends())


async def test_settings_are_made_for_one_transaction_only(postgres: EmptyDatabase) -> None:
    """Behind a pooler, the next statement may run on another connection."""
    database, store = postgres.below()
    settings = "SELECT current_setting('search_path'), current_setting('transaction_isolation')"
    async with store:
        assert await database.read(lambda tx: tx.one(settings)) == ("mcp_sessions, pg_temp", "repeatable read")
        assert await database.write(lambda tx: tx.one(settings)) == ("mcp_sessions, pg_temp", "read committed")
        pooled = database._idle[-1]  # pyright: ignore[reportPrivateUsage]  nothing public shows the pool
        assert pooled.connection.execute("SELECT current_setting('search_path')").fetchone() == ('"$user", public',)
        assert pooled.connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


async def test_new_keys_follow_those_of_inserted_rows(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    row = (
        "INSERT INTO sessions (key, id, name, folded_name, type, agent_id, user_id, place, created_at, updated_at,"
        " version, message_count, run_count, summary, metadata, state)"
        " VALUES (7, 'copied23', '', '', 'agent', '', '', 0, 1, 1, 1, 0, 0, '', '{}', '{}')"
    )

    def copy(tx: Transaction) -> None:
        tx.run(row)
        database.advance_keys(tx)

    async with store:
        await database.write(copy)
        await database.write(database.advance_keys)
        await store.create_session()
    assert [key > 7 for (key,) in postgres.sql("SELECT key FROM mcp_sessions.sessions WHERE id <> 'copied23'")] == [
        True
    ]


async def test_receipts_of_old_connections_are_removed(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    yesterday = time_ns() // 1000 - 25 * 3600 * 1_000_000
    async with store:
        postgres.sql("INSERT INTO mcp_sessions.receipts VALUES (1, 1, %s), (2, 1, %s)", yesterday, time_ns() // 1000)
        await database.write(delete_old_receipts)
    assert postgres.sql("SELECT holder FROM mcp_sessions.receipts WHERE holder < 10") == [(2,)]


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (errors.QueryCanceled, Timeout, "did not finish within 25 s"),
        (errors.LockNotAvailable, Timeout, "other calls locked the store for 25 s"),
        (errors.ReadOnlySqlTransaction, ReadOnlyDatabase, "accepts no changes"),
        (errors.InsufficientPrivilege, Forbidden, "lacks a privilege"),
        (errors.UndefinedTable, Unavailable, "tables no longer exist"),
        (errors.DiskFull, Unavailable, "disk is full"),
        (errors.OutOfMemory, Unavailable, "no memory"),
        (errors.IoError, Unavailable, "failed to read or write"),
        (errors.DataCorrupted, Unavailable, "failed to read or write"),
        (errors.SyntaxError, None, ""),
    ],
)
def test_the_error_about_a_refused_statement_has_its_code(
    error: type[psycopg.Error], kind: type[SessionsError] | None, told: str
) -> None:
    known = statement_error(error("FATAL: what was stored"), 25, "mcp_sessions")
    assert (type(known) if known else None) is kind
    assert known is None or (told in known.text and "stored" not in known.text.replace("the store", ""))


async def test_changes_work_again_when_a_database_is_no_longer_read_only(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session_id = (await store.create_session(name="before")).id
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    async with postgres.opened() as store:
        for _ in range(2):
            with pytest.raises(Unavailable, match="accepts no changes: it is a standby, or set to be read-only"):
                await store.rename_session(session_id, "refused")
        async with anyio.create_task_group() as tasks:  # several connections made while it is read-only
            for _ in range(5):
                tasks.start_soon(store.get_session, session_id)
        with postgres.connected() as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {postgres.name} RESET default_transaction_read_only".encode())
        change = await store.rename_session(session_id, "first")
        assert (change.previous, change.changed) == ({"name": "before"}, {"name": "first"})
        await store.rename_session(session_id, "second")


async def test_a_read_only_connection_is_not_kept(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session_id = (await store.create_session(name="before")).id
        postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
        await store.rename_session(session_id, "by a connection that was made before")
        for backend in postgres.backends():
            postgres.server.sql("SELECT pg_terminate_backend(%s)", backend)
        with pytest.raises(Unavailable, match="accepts no changes"):
            await store.rename_session(session_id, "refused")
        await until(lambda: not postgres.backends())
        assert (await store.get_session(session_id)).name == "by a connection that was made before"
