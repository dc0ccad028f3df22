"""A source of sessions that is no store, and copies of it into a store."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.session_content import MARK
from mcp_sessions.backends.session_copy import BackendArgument, SessionCopyResult, copy_sessions
from mcp_sessions.models import HistoryQuery, Message, Session, SessionFilter

from ..contract.custom import JsonFolderHarness
from ..contract.harness import Seed
from ..contract.samples import WEATHER, moment


@asynccontextmanager
async def folder_source(*seeds: Seed) -> AsyncGenerator[tuple[SessionBackend, list[str]]]:
    harness = JsonFolderHarness()
    async with harness.open() as backend:
        yield backend, await harness.seed(backend, seeds)


def tell_nothing(step: str, done: int, total: int) -> None:
    pass


async def copied(source: SessionBackend, path: Path, source_name: str = "folder:") -> SessionCopyResult:
    async with open_backend(f"sqlite:///{path}") as target:
        ends = BackendArgument("--from", source), BackendArgument("--to", target)
        return await copy_sessions(*ends, source_name, tell_nothing)


async def sessions_in(backend: SessionBackend, *, archived: bool = False) -> list[Session]:
    return list((await backend.list_sessions(SessionFilter(archived=archived), limit=100)).sessions)


async def messages_in(backend: SessionBackend, session_id: str) -> list[Message]:
    page = await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=1_000)
    return list(page.messages)


def change(folder: JsonFolder, session_id: str, **fields: Any) -> None:
    """Change fields of a stored session, as another program would."""
    path = folder._folder / f"{session_id}.json"  # pyright: ignore[reportPrivateUsage] - the example has no writer
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


FULL = Seed(
    name="Rome",
    type="team",
    agent_id="crew",
    user_id="ann",
    state={"n": 1, "ü": [None, 1.5]},
    metadata={"kept": True, MARK: {"source": "an earlier copy", "id": "1"}},
    runs=WEATHER,
    moment=moment(1),
)
