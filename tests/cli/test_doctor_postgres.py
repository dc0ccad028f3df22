"""`mcp-sessions doctor` on a real PostgreSQL: its report. It changes nothing."""

from functools import partial

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Unavailable
from mcp_sessions.models import NewMessage

from ..support.databases import EmptyDatabase
from ..support.doctor import Examine, names, text_of


def test_no_store_is_created_in_a_database(postgres: EmptyDatabase, examined: Examine) -> None:
    status, told = examined("--backend", postgres.url)
    assert status == 0
    assert text_of(told, "server", "ok").startswith("server: PostgreSQL ")
    assert "no tables yet; the first start creates them in the schema mcp_sessions" in text_of(told, "store", "ok")
    assert "all 15" in text_of(told, "operations", "ok")
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert postgres.backends() == []


async def test_the_version_and_the_missing_rights_of_the_role_are_reported(
    postgres: EmptyDatabase, examined: Examine
) -> None:
    async with postgres.opened():
        pass
    _, told = await run_sync(examined, "--backend", postgres.url)
    assert text_of(told, "store", "ok") == "store: schema mcp_sessions, version 1."
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
    _, told = await run_sync(examined, "--backend", postgres.url)
    assert "version 0; the next start migrates it to 1, " in text_of(told, "store", "ok")
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 1")
    postgres.sql(f"CREATE ROLE {postgres.name}_reader LOGIN PASSWORD 'secret'")
    postgres.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {postgres.name}_reader")
    postgres.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA mcp_sessions TO {postgres.name}_reader")
    as_reader = postgres.url.replace("//postgres:", f"//{postgres.name}_reader:")
    status, told = await run_sync(examined, "--backend", as_reader)
    assert status == 0
    every = "sessions, messages, purged_ids, name_index, message_index, receipts"
    assert f"this role can't change {every}, so sessions can only be read" in text_of(told, "permissions", "warning")
    _, told = await run_sync(examined, "--backend", as_reader, "--read-only")
    assert text_of(told, "permissions", "ok").endswith(f"can't change {every}, so sessions can only be read.")
    postgres.sql(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mcp_sessions TO {postgres.name}_reader")
    postgres.sql(f"REVOKE INSERT ON mcp_sessions.messages FROM {postgres.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert "this role can't change messages, so" in text_of(told, "permissions", "warning")
    postgres.sql(f"GRANT INSERT ON mcp_sessions.messages TO {postgres.name}_reader")
    _, told = await run_sync(examined, "--backend", as_reader)
    assert not [line for line in told if line[1].startswith("permissions")]
    async with open_backend(as_reader) as store:  # what doctor says suffices does
        session = await store.create_session(name="made by the role")
        await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
        await store.rename_session(session.id, "renamed by the role")
        await store.delete_session(session.id)


async def test_a_read_only_database_is_a_warning_unless_the_server_is_read_only(
    postgres: EmptyDatabase, examined: Examine
) -> None:
    async with postgres.opened():
        pass
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    status, told = await run_sync(examined, "--backend", postgres.url)
    text = text_of(told, "server", "warning")
    assert (status, names(told, "failed")) == (0, [])
    assert text.endswith("Turn it off for the database or the role, or offer only tools that read.")
    status, told = await run_sync(partial(examined, "--backend", postgres.url, READ_ONLY="1"))
    assert (status, "server" in names(told, "warning"), names(told, "failed")) == (0, False, [])
    assert ("ok", "server: default_transaction_read_only is on, so nothing can be changed.") in told


@pytest.mark.parametrize("flags", [[], ["--read-only"]], ids=["for changes", "for reading"])
@pytest.mark.parametrize("version", [None, 0], ids=["no tables", "older tables"])
async def test_a_store_that_a_read_only_database_needs_to_create_or_migrate_fails(
    postgres: EmptyDatabase, examined: Examine, version: int | None, flags: list[str]
) -> None:
    if version is not None:
        async with postgres.opened():
            pass
        postgres.sql(f"UPDATE mcp_sessions.mcp_sessions_version SET version = {version}")
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    status, told = await run_sync(examined, "--backend", postgres.url, *flags)
    assert (status, names(told, "failed")) == (1, ["store"])
    text = text_of(told, "store", "failed")
    cannot = "can't create them" if version is None else "can't migrate it to 1"
    assert f"{cannot}: default_transaction_read_only is on, so nothing can be changed. Turn it off" in text
    assert "--read-only" not in text
    with pytest.raises(Unavailable):  # as the check says
        async with postgres.opened():
            pass


@pytest.mark.parametrize("flags", [[], ["--read-only"]], ids=["for changes", "for reading"])
@pytest.mark.parametrize("schema", ["none", "empty", "older"])
async def test_a_store_that_the_role_cannot_create_or_migrate_fails(
    postgres: EmptyDatabase, examined: Examine, schema: str, flags: list[str]
) -> None:
    role = f"{postgres.name}_guest"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    if schema == "empty":
        postgres.sql("CREATE SCHEMA mcp_sessions")
        postgres.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {role}")
    if schema == "older":
        async with postgres.opened():
            pass
        postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
        postgres.sql(f"GRANT ALL ON SCHEMA mcp_sessions TO {role}")
        postgres.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA mcp_sessions TO {role}")
    url = postgres.url.replace("//postgres:", f"//{role}:")
    status, told = await run_sync(examined, "--backend", url, *flags)
    assert (status, names(told, "failed")) == (1, ["store" if schema == "older" else "backend"])
    expected = {
        "none": f"can't create the store's tables. Ask an administrator to run in this database: CREATE SCHEMA "
        f"mcp_sessions AUTHORIZATION {role}.",
        "empty": f"Ask an administrator to run in this database: GRANT ALL ON SCHEMA mcp_sessions TO {role}.",
        "older": "can't migrate it to 1: this role may not alter the tables. Ask their owner to start this",
    }
    assert expected[schema] in next(text for said, text in told if said == "failed")


def test_a_store_of_a_newer_version_fails(postgres: EmptyDatabase, examined: Examine) -> None:
    postgres.sql("CREATE SCHEMA mcp_sessions")
    postgres.sql("CREATE TABLE mcp_sessions.mcp_sessions_version AS SELECT 99 AS version")
    status, told = examined("--backend", postgres.url)
    assert status == 1
    assert "a newer mcp-sessions made this store" in text_of(told, "backend", "failed")


def test_settings_that_lose_changes_at_a_power_failure_are_a_warning(
    postgres: EmptyDatabase, examined: Examine
) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} SET synchronous_commit = off")
    _, told = examined("--backend", postgres.url)
    assert "synchronous_commit is off" in text_of(told, "durability", "warning")


def test_a_wrong_password_is_reported_and_not_shown(postgres: EmptyDatabase, examined: Examine) -> None:
    status, told = examined("--backend", postgres.url.replace(":secret@", ":hunter2@"))
    assert status == 1
    assert "refused the password or name" in text_of(told, "backend", "failed")
