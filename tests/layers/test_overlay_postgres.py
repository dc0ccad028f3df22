"""An overlay on PostgreSQL, which stops and starts again, or hangs."""

from contextlib import closing

import anyio
import psycopg
import pytest

from mcp_sessions.backends.deadline import deadline
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.models import SessionFilter

from ..support.databases import EmptyDatabase
from ..support.servers.postgres_process import Postgres
from .listed_backend import ListedBackend


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
