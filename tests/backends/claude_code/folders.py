"""Folders of Claude Code for tests: copies of the fixtures, and folders that a test fills."""

import json
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import HistoryQuery, Message, Session, SessionFilter

from ...contract.walks import history_pages, oldest_first

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: list[dict[str, Any]] = json.loads((FIXTURES / "expected.json").read_text())
"""What Claude Code's own SDK shows of each session in the fixtures."""


def copy_fixtures(folder: Path) -> Path:
    """Return a copy of the fixtures, with the times of their files."""
    return Path(shutil.copytree(FIXTURES / "config", folder / "config"))


@asynccontextmanager
async def opened(root: Path, **options: Any) -> AsyncGenerator[SessionBackend]:
    """Yield the backend. Its own files are beside Claude Code's folder."""
    async with open_backend(f"claude-code://{root}", data_folder=f"{root}-data", **options) as backend:
        yield backend


def overlaid(root: Path, **options: Any) -> SessionBackend:
    """Return the backend with an overlay. Both have their own files beside Claude Code's folder."""
    inner = open_backend(f"claude-code://{root}", data_folder=f"{root}-data", **options)
    return Overlay(inner, OverlayStore.from_url(f"sqlite:///{root}-overlay.db"), source="tests")


async def messages_of(backend: SessionBackend, session_id: str, limit: int = 200) -> list[Message]:
    """Return all messages of a session, with those of tools, oldest first."""
    return oldest_first(await history_pages(backend, session_id, limit, include_tools=True))


async def texts_of(root: Path, session_id: str) -> list[str]:
    """Return the texts of all messages of a session, oldest first."""
    async with opened(root) as backend:
        return [message.text for message in await messages_of(backend, session_id)]


async def names_in(root: Path) -> list[str]:
    """Return the names of the listed sessions, the newest first."""
    async with opened(root) as backend:
        return [session.name for session in await listed(backend)]


async def listed(backend: SessionBackend) -> Sequence[Session]:
    """Return the sessions that are listed, the newest first."""
    return (await backend.list_sessions(SessionFilter(), limit=100)).sessions


async def note_of(backend: SessionBackend, session_id: str) -> str:
    """Return the note on a session's history."""
    return (await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)).note


def start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def register(root: Path, process: int, session_id: str, **fields: Any) -> Path:
    """Write the file with which a running Claude Code says which session it has open."""
    path = root / "sessions" / f"{process}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"pid": process, "sessionId": session_id, "procStart": start_of(process)} | fields))
    return path
