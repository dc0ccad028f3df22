"""An overlay on a PostgreSQL server that stops and starts again."""

import pytest

from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore

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
