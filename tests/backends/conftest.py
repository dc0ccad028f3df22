"""A store in a file of its own; and which tests are there only where real AgentOS servers are."""

from collections.abc import AsyncGenerator
from pathlib import Path
from time import time

import pytest

from mcp_sessions.backends.base import SessionBackend

from ..servers.agentos_process import are_installed
from .agentos_faked import Clock
from .files import opened

NEED_AGENTOS = (
    "test_agentos_auth.py",
    "test_agentos_hazards.py",
    "test_agentos_write_hazards.py",
    "test_agentos_writes.py",
)
collect_ignore = () if are_installed() else NEED_AGENTOS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SessionBackend]:
    async with opened(path) as backend:
        yield backend


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What AgentOS's journal goes by."""
    made = Clock(time())
    for module in ("journal", "keeper"):
        monkeypatch.setattr(f"mcp_sessions.backends.agentos.{module}.time", made)
    return made
