"""`mcp-sessions doctor` on a real PostgreSQL: what it says of it, and that it changes nothing."""

from anyio.to_thread import run_sync

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import NewMessage

from ..support.databases import Place
from ..support.doctor import Examine, text_of


def test_a_database_without_a_store_is_left_without(place: Place, examined: Examine) -> None:
    status, told = examined("--backend", place.url)
    assert status == 0
    assert text_of(told, "server", "ok").startswith("server: PostgreSQL ")
    assert "no tables yet; the first start makes them in the schema mcp_sessions" in text_of(told, "store", "ok")
    assert "all 15" in text_of(told, "operations", "ok")
    assert place.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert place.backends() == []


async def test_a_store_tells_its_version_and_what_its_role_may_not(place: Place, examined: Examine) -> None:
    async with place.opened():
        pass
    _, told = await run_sync(examined, "--backend", place.url)
    assert text_of(told, "store", "ok") == "store: in the schema mcp_sessions: version 1 of its shape."
    place.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
    _, told = await run_sync(examined, "--backend", place.url)
    assert "version 0 of its shape; the next start brings it to 1, " in text_of(told, "store", "ok")
    place.sql(f"CREATE ROLE {place.name}_reader LOGIN PASSWORD 'secret'")
    place.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {place.name}_reader")
    place.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA mcp_sessions TO {place.name}_reader")
    as_reader = place.url.replace("//postgres:", f"//{place.name}_reader:")
    status, told = await run_sync(examined, "--backend", as_reader)
    assert status == 0
    every = "sessions, messages, purged_ids, name_index, message_index, receipts"
    assert f"this role can't change {every}, so sessions can only be read" in text_of(told, "permissions", "warning")
    place.sql(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mcp_sessions TO {place.name}_reader")
    place.sql(f"REVOKE INSERT ON mcp_sessions.messages FROM {place.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert "this role can't change messages, so" in text_of(told, "permissions", "warning")
    place.sql(f"GRANT INSERT ON mcp_sessions.messages TO {place.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert not [line for line in told if line[0] == "permissions"]
    place.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 1")
    async with open_backend(as_reader) as store:  # what doctor says suffices does
        session = await store.create_session(name="made by the role")
        await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
        await store.rename_session(session.id, "renamed by the role")
        await store.delete_session(session.id)


def test_a_database_that_is_read_only_is_warned_of(place: Place, examined: Examine) -> None:
    place.sql(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on")
    _, told = examined("--backend", place.url)
    assert "it is set to be read only (default_transaction_read_only)" in text_of(told, "server", "warning")


def test_a_store_that_is_newer_fails(place: Place, examined: Examine) -> None:
    place.sql("CREATE SCHEMA mcp_sessions")
    place.sql("CREATE TABLE mcp_sessions.mcp_sessions_version AS SELECT 99 AS version")
    status, told = examined("--backend", place.url)
    assert status == 1
    assert "made by a newer mcp-sessions" in text_of(told, "backend", "failed")


def test_what_a_power_loss_would_take_is_warned_of(place: Place, examined: Examine) -> None:
    place.sql(f"ALTER DATABASE {place.name} SET synchronous_commit = off")
    _, told = examined("--backend", place.url)
    assert "synchronous_commit is off" in text_of(told, "durability", "warning")


def test_a_password_that_is_refused_is_said_and_not_shown(place: Place, examined: Examine) -> None:
    status, told = examined("--backend", place.url.replace(":secret@", ":hunter2@"))
    assert status == 1
    assert "refused the password or name" in text_of(told, "backend", "failed")
