"""A store with something of everything, the command that copies one, and what a copy must have kept."""

import os
import subprocess
from dataclasses import dataclass

from mcp_sessions import open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.models import HistoryQuery, NewMessage, SessionFilter
from tests.support.fork_server import forked

from ..contract.samples import WEATHER, exchanges


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def copy(source: str, target: str, timeout: float = 60) -> Ended:
    command = [*forked("-m", "mcp_sessions", "copy"), "--from", source, "--to", target]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=timeout, check=False, env=os.environ)
    return Ended(done.returncode, done.stdout, done.stderr)


async def fill(url: str, sessions: int = 12) -> list[str]:
    """Create sessions of two users: active, archived and deleted ones, with messages and all fields of a row."""
    async with open_backend(url) as backend:
        ids: list[str] = []
        for number in range(sessions):
            own = backend.for_caller(Caller(user_id=("ann", "ben", "")[number % 3]))
            session = await own.create_session(
                name=f"Name {number} 天気 é%_\\'\"",
                type="agent",
                agent_id="planner",
                state={"n": number, "ü": [None, 1.5]},
            )
            for run in (*WEATHER, *exchanges(number % 4)):
                await own.append_messages(session.id, run)
            await own.update_session(session.id, metadata={"kept": True}, summary="summed up")
            if number % 4 == 1:
                await own.archive_session(session.id)
            if number % 4 == 2:
                await own.delete_session(session.id)
            ids.append(session.id)
        return ids


async def shown(backend: SessionBackend, ids: list[str]) -> dict[str, object]:
    """Return everything that callers can see of a store, in its order."""
    seen: dict[str, object] = {}
    for user in ("", "ann", "ben"):
        view = backend.for_caller(Caller(user_id=user))
        for archived in (False, True):
            seen[f"{user} {archived}"] = await view.list_sessions(SessionFilter(archived=archived), limit=100)
        for words in ("weather", "天気", "question 2", "ro*"):
            seen[f"{user} {words}"] = await view.search_sessions(words, limit=50)
    for session_id in ids:
        await backend.restore_session(session_id)  # those deleted too
        detail = await backend.get_session(session_id)
        seen[session_id] = detail.model_copy(update={"updated_at": None, "version": ""})
        seen[f"{session_id} history"] = await backend.get_session_history(
            session_id, HistoryQuery(include_tools=True), limit=200
        )
        seen[f"{session_id} runs"] = await backend.get_session_runs(session_id, limit=100)
    return seen


async def require_same(source: str, target: str, ids: list[str]) -> None:
    """Check that both stores show the same, and that the copy can be changed like any other store."""
    async with open_backend(source) as one, open_backend(target) as other:
        assert await shown(one, ids) == await shown(other, ids)
        added = await other.create_session(name="made later")
        await other.append_messages(added.id, [NewMessage(role="user", text="last words")])
        assert (await other.list_sessions(SessionFilter(order="created_desc"))).sessions[0].id == added.id
        assert [hit.session_id for hit in (await other.search_sessions("last")).hits] == [added.id]
