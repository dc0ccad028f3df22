"""`mcp-sessions doctor` on a real PostgreSQL: what it says of it, and that it changes nothing."""

from anyio.to_thread import run_sync

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import NewMessage

from ..support.databases import EmptyDatabase
from ..support.doctor import Examine, text_of


def test_a_database_without_a_store_is_left_without(postgres: EmptyDatabase, examined: Examine) -> None:
    status, told = examined("--backend", postgres.url)
    assert status == 0
    assert text_of(told, "server", "ok").startswith("server: PostgreSQL ")
    assert "no tables yet; the first start creates them in the schema mcp_sessions" in text_of(told, "store", "ok")
    assert "all 15" in text_of(told, "operations", "ok")
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert postgres.backends() == []


async def test_a_store_tells_its_version_and_what_its_role_may_not(postgres: EmptyDatabase, examined: Examine) -> None:
    async with postgres.opened():
        pass
    _, told = await run_sync(examined, "--backend", postgres.url)
    assert text_of(told, "store", "ok") == "store: schema mcp_sessions, version 1."
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
    _, told = await run_sync(examined, "--backend", postgres.url)
    assert "version 0; the next start migrates it to 1, " in text_of(told, "store", "ok")
    postgres.sql(f"CREATE ROLE {postgres.name}_reader LOGIN PASSWORD 'secret'")
    postgres.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {postgres.name}_reader")
    postgres.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA mcp_sessions TO {postgres.name}_reader")
    as_reader = postgres.url.replace("//postgres:", f"//{postgres.name}_reader:")
    status, told = await run_sync(examined, "--backend", as_reader)
    assert status == 0
    every = "sessions, messages, purged_ids, name_index, message_index, receipts"
    assert f"this role can't change {every}, so sessions can only be read" in text_of(told, "permissions", "warning")
    postgres.sql(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mcp_sessions TO {postgres.name}_reader")
    postgres.sql(f"REVOKE INSERT ON mcp_sessions.messages FROM {postgres.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert "this role can't change messages, so" in text_of(told, "permissions", "warning")
    postgres.sql(f"GRANT INSERT ON mcp_sessions.messages TO {postgres.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert not [line for line in told if line[0] == "permissions"]
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 1")
    async with open_backend(as_reader) as store:  # what doctor says suffices does
        session = await store.create_session(name="made by the role")
        await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
        await store.rename_session(session.id, "renamed by the role")
        await store.delete_session(session.id)


def test_a_database_that_is_read_only_is_warned_of(postgres: EmptyDatabase, examined: Examine) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    _, told = examined("--backend", postgres.url)
    assert "default_transaction_read_only is on" in text_of(told, "server", "warning")


def test_a_store_that_is_newer_fails(postgres: EmptyDatabase, examined: Examine) -> None:
    postgres.sql("CREATE SCHEMA mcp_sessions")
    postgres.sql("CREATE TABLE mcp_sessions.mcp_sessions_version AS SELECT 99 AS version")
    status, told = examined("--backend", postgres.url)
    assert status == 1
    assert "a newer mcp-sessions made this store" in text_of(told, "backend", "failed")


def test_what_a_power_loss_would_take_is_warned_of(postgres: EmptyDatabase, examined: Examine) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} SET synchronous_commit = off")
    _, told = examined("--backend", postgres.url)
    assert "synchronous_commit is off" in text_of(told, "durability", "warning")


def test_a_password_that_is_refused_is_said_and_not_shown(postgres: EmptyDatabase, examined: Examine) -> None:
    status, told = examined("--backend", postgres.url.replace(":secret@", ":hunter2@"))
    assert status == 1
    assert "refused the password or name" in text_of(told, "backend", "failed")
