"""Fixtures: a store in a file, or in a PostgreSQL database, of its own; and a clock for AgentOS's journal."""

import inspect
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from time import time

import pytest

from mcp_sessions.backends.base import SessionBackend

from .databases import EmptyDatabase
from .faked_agentos import Clock
from .servers import postgres_process
from .store_files import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on both databases, unless it looks into the file."""
    of_one = metafunc.definition.path.name.startswith(("test_sqlite_", "test_postgres_"))
    is_owed = "store" in metafunc.fixturenames and not of_one
    if is_owed and "path" not in inspect.signature(metafunc.function).parameters:
        databases = ["sqlite", "postgresql"] if postgres_process.is_installed() else ["sqlite"]
        metafunc.parametrize("store", databases, indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncGenerator[SessionBackend]:
    is_sqlite = getattr(request, "param", "sqlite") == "sqlite"
    async with opened(path) if is_sqlite else empty_database().opened() as backend:
        yield backend


@pytest.fixture
def postgres() -> EmptyDatabase:
    """Return an empty database on the server that all tests share."""
    return empty_database()


def empty_database() -> EmptyDatabase:
    server = postgres_process.running()
    return EmptyDatabase(server, server.database())


@pytest.fixture(scope="module")
def own_server() -> Generator[postgres_process.Postgres]:
    """Yield a server that a test may stop, if it starts it again."""
    server = postgres_process.started()
    yield server
    server.remove()


@pytest.fixture
def impatient_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let AgentOS's journal wait less for who locks it, for tests that keep it locked."""
    monkeypatch.setattr("mcp_sessions.backends.agentos.recheck.journal._LOCKED_SECONDS", 0.05)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of AgentOS's journal."""
    made = Clock(time())
    for module in ("journal", "rechecker"):
        monkeypatch.setattr(f"mcp_sessions.backends.agentos.recheck.{module}.time", made)
    return made
