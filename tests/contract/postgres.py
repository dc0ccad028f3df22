"""The harness for the embedded store on a real PostgreSQL."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.sql.backend import SqlBackend

from ..support.servers.postgres_process import is_installed, running
from .embedded import write
from .harness import Harness, Seed


class PostgresHarness(Harness):
    """A new schema for each test, in one shared database."""

    name = "postgresql"
    capabilities = SqlBackend.capabilities

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        server = running()
        server.sql("DROP SCHEMA IF EXISTS mcp_sessions CASCADE")
        async with open_backend(server.url()) as backend:
            yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        ids = [await write(backend, seed) for seed in seeds]
        for session_id, seed in zip(ids, seeds, strict=True):
            if seed.moment is not None:
                micros = round(seed.moment.timestamp() * 1_000_000)
                running().sql(
                    "UPDATE mcp_sessions.sessions SET created_at = %s, updated_at = %s WHERE id = %s",
                    micros,
                    micros,
                    session_id,
                )
        return ids


REAL: tuple[type[Harness], ...] = (PostgresHarness,) if is_installed() else ()
"""The harness, if the environment names PostgreSQL's programs."""
