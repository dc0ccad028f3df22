"""An overlay on PostgreSQL, which stops and starts again, or hangs."""

from contextlib import closing
from pathlib import Path

import anyio
import psycopg
import pytest

from mcp_sessions.backends.deadline import deadline
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, Unavailable
from mcp_sessions.models import SessionFilter

from ..support.databases import EmptyDatabase
from ..support.servers.postgres_process import Postgres
from .listed_backend import ListedBackend
from .test_overlay_migration import Before


@pytest.mark.slow
async def test_reads_wait_once_for_a_database_that_does_not_answer(
    listed: ListedBackend, own_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.backends.layers.overlay.store.RETRY_AFTER_SECONDS", 600)
    store = OverlayStore.from_url(own_server.url(), timeout=4)
    async with Overlay(listed, store, source="list:") as backend:
        await backend.archive_session("a")
        own_server.stop()
        why = "the overlay can't be used: PostgreSQL"
        assert why in (await backend.get_session("a")).note
        own_server.start()
        assert why in (await backend.get_session("a")).note  # a read during the pause does not ask the database
        await backend.restore_session("a")  # a change does, and ends the pause
        assert (await backend.get_session("a")).note == ""


async def test_a_database_that_hangs_leaves_a_call_time_for_the_system(
    listed: ListedBackend, postgres: EmptyDatabase
) -> None:
    store = OverlayStore.from_url(postgres.url, timeout=600)
    async with Overlay(listed, store, source="list:") as backend:
        await backend.archive_session("a")
        with closing(psycopg.connect(postgres.url)) as other:
            other.execute("LOCK TABLE mcp_sessions_overlay.facts IN ACCESS EXCLUSIVE MODE")
            with anyio.fail_after(60), deadline(1):
                page = await backend.list_sessions(SessionFilter())
        assert [session.id for session in page.sessions] == ["c", "b", "a"]
        assert "the overlay can't be used: its database did not answer within" in page.note


async def test_a_database_that_is_read_only_is_read_and_refuses_changes(
    listed: ListedBackend, postgres: EmptyDatabase
) -> None:
    name = postgres.url.rpartition("/")[2].partition("?")[0]
    for is_created in (False, True):
        with closing(psycopg.connect(postgres.url, autocommit=True)) as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        async with Overlay(listed, OverlayStore.from_url(postgres.url), source="list:") as backend:
            page = await backend.list_sessions(SessionFilter())
            assert [session.id for session in page.sessions] == (["c", "b"] if is_created else ["c", "b", "a"])
            assert ("read-only" in page.note) is not is_created
            for change in (backend.archive_session("c"), backend.update_session_state("b", {"step": 1})):
                with pytest.raises(Unavailable, match="read-only"):
                    await change
        with closing(psycopg.connect(postgres.url, autocommit=True)) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        async with Overlay(listed, OverlayStore.from_url(postgres.url), source="list:") as backend:
            await backend.archive_session("a")


async def test_users_share_an_overlay_and_reach_only_what_belongs_to_their_own_sessions(
    postgres: EmptyDatabase, tmp_path: Path
) -> None:
    system = Before(open_backend(f"sqlite:///{tmp_path}/store.db"))
    async with Overlay(system, OverlayStore.from_url(postgres.url), source="store") as backend:
        ann, bob = (backend.for_caller(Caller(user_id=user)) for user in ("ann", "bob"))
        session = await ann.create_session(name="Trip", state={"step": 1})
        await ann.archive_session(session.id)
        for attempt in (
            bob.get_session(session.id),
            bob.restore_session(session.id),
            bob.update_session_state(session.id, {"step": 2}),
            bob.delete_session(session.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert (await bob.list_sessions(SessionFilter(archived=True))).sessions == ()
        assert [shown.id for shown in (await ann.list_sessions(SessionFilter(archived=True))).sessions] == [session.id]
        assert (await ann.get_session(session.id)).state == {"step": 1}
