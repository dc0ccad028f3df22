"""Databases on a real PostgreSQL, seen from outside: what they hold, and what goes on in them."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import psycopg

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.database.postgres import PostgresDatabase
from mcp_sessions.backends.database.postgres_schema import STORE
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.sql import StoreOptions
from mcp_sessions.backends.sql.backend import SqlBackend

from .servers.postgres_process import Postgres

PATIENCE = 20  # seconds


@dataclass(frozen=True, slots=True)
class EmptyDatabase:
    """An empty PostgreSQL database, and access to it apart from the store."""

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def opened(self, *, timeout: float = 25, keep_deleted: int = 30) -> SessionBackend:
        """Return the store in the database, which the caller opens."""
        return open_backend(self.url, timeout=timeout, keep_deleted=keep_deleted)

    def below(self, *, timeout: float = 25) -> tuple[PostgresDatabase, SqlBackend]:
        """Return the store, which the caller opens, and the database under it."""
        database = PostgresDatabase(self.url, seconds=timeout, schema=STORE)
        return database, SqlBackend(database, StoreOptions())

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, *parameters, database=self.name)

    def connected(self) -> "closing[psycopg.Connection[tuple[Any, ...]]]":
        """Return a connection of another program, in autocommit mode."""
        return closing(self.server.connect(self.name))

    def backends(self, condition: str = "true") -> list[int]:
        """Return the ids of the server's processes that serve a store in this database."""
        rows = self.server.sql(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'mcp-sessions' AND datname = %s"
            f" AND {condition}",
            self.name,
        )
        return [pid for (pid,) in rows]

    def assert_whole(self) -> None:
        """Check that the search index has all texts that can be searched for, and no others."""
        for table, condition, index in (
            ("messages", "true", "message_index"),
            ("sessions", "name <> ''", "name_index"),
        ):
            ((count,),) = self.sql(
                f"SELECT count(*) FROM (SELECT key AS k FROM mcp_sessions.{table} WHERE {condition}) t"
                f" FULL JOIN (SELECT key AS k FROM mcp_sessions.{index}) i ON t.k = i.k"
                " WHERE t.k IS NULL OR i.k IS NULL"
            )
            assert count == 0


async def until(holds: Callable[[], object]) -> None:
    """Return when it does; a server's processes can't be waited for in another way."""
    with anyio.fail_after(PATIENCE):
        while not await anyio.to_thread.run_sync(holds):  # noqa: ASYNC110 - a process that is not ours
            await anyio.sleep(0.02)


def asleep(tx: Transaction) -> object:
    """Keep a connection busy for longer than any test takes."""
    return tx.one("SELECT pg_sleep(?)", 600)
