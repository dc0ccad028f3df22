"""Harnesses for the embedded store: as it is, wrapped, and behind a backend with only the required operations."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from mcp_sessions.backends.base import REQUIRED, SessionBackend
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.caller import Caller
from mcp_sessions.models import DEFAULT_HISTORY, HistoryQuery, MessagePage, SessionDetail, SessionFilter, SessionPage

from .harness import Harness, Seed


class SqliteHarness(Harness):
    """A new file for each test."""

    name = "sqlite"
    capabilities = SqlBackend.capabilities

    def __init__(self) -> None:
        self._file = Path()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            self._file = Path(folder) / "sessions.db"
            async with self.wrap(open_backend(f"sqlite:///{self._file}")) as backend:
                yield backend

    def wrap(self, backend: SessionBackend) -> SessionBackend:
        """Return the backend under test, given the store."""
        return backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        ids = [await write(backend, seed) for seed in seeds]
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            for session_id, seed in zip(ids, seeds, strict=True):
                if seed.moment is not None:
                    _set_moment(connection, session_id, seed.moment)
        return ids


async def write(backend: SessionBackend, seed: Seed) -> str:
    """Create a session as its seed says, except for its time. Return its id."""
    theirs = backend.for_caller(Caller(user_id=seed.user_id))
    session = await theirs.create_session(
        name=seed.name, type=seed.type, agent_id=seed.agent_id, state=seed.state, metadata=seed.metadata
    )
    for run in seed.runs:
        await theirs.append_messages(session.id, run)
    if seed.archived:
        await theirs.archive_session(session.id)
    return session.id


def _set_moment(connection: sqlite3.Connection, session_id: str, moment: datetime) -> None:
    """Set a session's times in the file, since the store always uses the current time."""
    micros = round(moment.timestamp() * 1_000_000)
    connection.execute("UPDATE sessions SET created_at = ?, updated_at = ? WHERE id = ?", (micros, micros, session_id))


class WrappedSqliteHarness(SqliteHarness):
    """A layer that adds nothing."""

    name = "wrapper-sqlite"
    is_variant = True

    def wrap(self, backend: SessionBackend) -> SessionBackend:
        return Wrapper(backend)


class RequiredOnly(SessionBackend):
    """A read-only backend: the required operations of another backend and nothing else."""

    title = "a read-only backend"
    capabilities = REQUIRED

    def __init__(self, inner: SessionBackend) -> None:
        self._inner = inner

    def why_no_user_scoping(self) -> str:
        return ""

    def _prepare_view(self) -> None:
        self._inner = self._inner.for_caller(self.caller)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        return await self._inner.list_sessions(filter, limit=limit, cursor=cursor)

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self._inner.get_session(session_id)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        return await self._inner.get_session_history(session_id, query, limit=limit, cursor=cursor)


class RequiredOnlyHarness(Harness):
    """A harness which proves that the suite runs with only some operations, and that the others are refused."""

    name = "required-only"
    capabilities = RequiredOnly.capabilities

    def __init__(self) -> None:
        self._embedded = SqliteHarness()
        self._inner = SessionBackend()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        async with self._embedded.open() as backend:
            self._inner = backend
            yield RequiredOnly(backend)

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return await self._embedded.seed(self._inner, seeds)
