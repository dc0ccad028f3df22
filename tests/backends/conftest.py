"""A store in a file or database of its own; and which tests are there only where real servers are."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from time import time

import pytest

from mcp_sessions.backends.base import SessionBackend

from ..servers import postgres_process
from ..servers.agentos_process import are_installed
from .agentos_faked import Clock
from .databases import Place
from .files import opened

NEED_AGENTOS = (
    "test_agentos_auth.py",
    "test_agentos_hazards.py",
    "test_agentos_write_hazards.py",
    "test_agentos_writes.py",
)
collect_ignore = () if are_installed() else NEED_AGENTOS
collect_ignore_glob = () if postgres_process.is_installed() else ("test_postgres_*.py",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SessionBackend]:
    async with opened(path) as backend:
        yield backend


@pytest.fixture
def place() -> Place:
    """An empty database on the server that every test has."""
    server = postgres_process.running()
    return Place(server, server.database())


@pytest.fixture(scope="module")
def own_server() -> Generator[postgres_process.Postgres]:
    """One that a test may stop, if it starts it again."""
    server = postgres_process.started()
    yield server
    server.remove()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What AgentOS's journal goes by."""
    made = Clock(time())
    for module in ("journal", "keeper"):
        monkeypatch.setattr(f"mcp_sessions.backends.agentos.{module}.time", made)
    return made
