"""A store in a file of its own."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend

from .files import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SessionBackend]:
    async with opened(path) as backend:
        yield backend
