"""Homes of Codex for tests: copies of the fixtures, and homes that a test fills."""

import json
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import HistoryQuery, Message, Session, SessionDetail, SessionFilter

from ...contract.walks import history_pages, oldest_first
from ...support.codex_rollouts import Rollout

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: list[dict[str, Any]] = json.loads((FIXTURES / "expected.json").read_text())["threads"]
"""What Codex itself shows of each thread in the fixtures."""


def labelled(label: str) -> str:
    """Return the id of the fixture with a label."""
    return next(thread["id"] for thread in EXPECTED if thread["label"] == label)


def copy_fixtures(folder: Path) -> Path:
    """Return a copy of the fixtures, with the times of their files."""
    return Path(shutil.copytree(FIXTURES / "home", folder / "home"))


def copy_fixtures_in_place(folder: Path) -> Path:
    """Return a copy of the fixtures whose database says where the files are, as if the home had never been moved."""
    home = copy_fixtures(folder)
    with closing(sqlite3.connect(home / "state_5.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE threads SET rollout_path = replace(rollout_path, '/home/user/.codex', ?)", [str(home)]
        )
    return home


def file_of(home: Path, thread_id: str) -> Path:
    """Return the newest file of a thread."""
    return max(home.rglob(f"rollout-*{thread_id}*"))


def rollout(text: str = "question", *, legacy: bool = False, moment: datetime = NOW) -> Rollout:
    """Return a thread with one turn."""
    made = Rollout(legacy=legacy, moment=moment)
    made.turn(text, "answer", moment)
    return made


def thread(*texts: str, thread_id: str = "", base: JsonObject | None = None, **meta: Json) -> Rollout:
    """Return a file with a turn for each text, after the turns of its base."""
    fields: JsonObject = {"history_base": base} if base else {}
    ordinal = base["end_ordinal_exclusive"] if base else 0
    made = Rollout(thread_id, moment=NOW, ordinal=ordinal, **fields, **meta)
    for text in texts:
        made.turn(text, f"re {text}", NOW)
    return made


def after(made: Rollout, turns: int) -> int:
    """Return the number of lines up to the end of a turn."""
    ends = [place for place, line in enumerate(made.lines, 1) if b'"task_complete"' in line]
    return ends[turns - 1]


@asynccontextmanager
async def opened(home: Path, **options: Any) -> AsyncGenerator[SessionBackend]:
    async with open_backend(f"codex://{home}", **options) as backend:
        yield backend


async def messages_of(backend: SessionBackend, session_id: str, limit: int = 200) -> list[Message]:
    """Return all messages of a session, with those of tools, oldest first."""
    return oldest_first(await history_pages(backend, session_id, limit, include_tools=True))


async def texts_of(home: Path, session_id: str) -> list[str]:
    """Return the texts of the messages of a session, without those of tools, oldest first."""
    async with opened(home) as backend:
        return [message.text for message in (await backend.get_session_history(session_id, limit=200)).messages]


async def listed(backend: SessionBackend, *, archived: bool = False) -> Sequence[Session]:
    """Return the sessions that are listed, the newest first."""
    return (await backend.list_sessions(SessionFilter(archived=archived), limit=100)).sessions


async def names_in(home: Path, *, archived: bool = False) -> list[str]:
    """Return the names of the listed sessions, the newest first."""
    async with opened(home) as backend:
        return [session.name for session in await listed(backend, archived=archived)]


async def session_of(home: Path, session_id: str) -> SessionDetail:
    async with opened(home) as backend:
        return await backend.get_session(session_id)


async def note_of(home: Path, session_id: str) -> str:
    """Return the note on a session's history."""
    async with opened(home) as backend:
        return (await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)).note
