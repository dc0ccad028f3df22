"""Several processes on one overlay, also if they are killed: nothing that was acknowledged is lost."""

import os
import random
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.errors import Conflict
from mcp_sessions.models import SessionDetail

from ..support.servers import postgres_process
from ..support.store_processes import PATIENCE, context, run_together
from ..support.stores import empty_database
from .listed_backend import ListedBackend

CLIENTS, INCREMENTS = 4, 15  # clients of each of two processes
KILLED = ("one", "two")
DATABASES = ["sqlite", *(["postgresql"] if postgres_process.is_installed() else [])]


@asynccontextmanager
async def overlaid(url: str, *session_ids: str) -> AsyncGenerator[Overlay]:
    inner = ListedBackend()
    for session_id in session_ids:
        inner.add(session_id)
    async with Overlay(inner, OverlayStore.from_url(url), source="list:") as backend:
        yield backend


def increment(url: str, together: Barrier) -> None:
    """Run in each process."""

    async def client(backend: Overlay, name: str) -> None:
        for number in range(INCREMENTS):
            await backend.update_session_state("s", {name: number})
            while True:
                session = await backend.get_session("s")
                increased = {"count": session.state.get("count", 0) + 1}
                try:
                    await backend.update_session_state("s", increased, expected_version=session.version)
                except Conflict:
                    continue
                break

    async def main() -> None:
        async with overlaid(url, "s") as backend, anyio.create_task_group() as tasks:
            together.wait()
            for number in range(CLIENTS):
                tasks.start_soon(client, backend, f"{os.getpid()}-{number}")

    anyio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
async def test_no_change_through_two_servers_on_a_new_overlay_is_lost(database: str, overlay_path: Path) -> None:
    url = f"sqlite:///{overlay_path}" if database == "sqlite" else empty_database().url
    processes = context()
    together = processes.Barrier(2)
    run_together([processes.Process(target=increment, args=(url, together)) for _ in range(2)])
    async with overlaid(url, "s") as backend:
        session = await backend.get_session("s")
    changes = 2 * CLIENTS * INCREMENTS
    assert session.state.pop("count") == changes
    assert list(session.state.values()) == [INCREMENTS - 1] * 2 * CLIENTS
    assert session.version.partition("+")[2] == str(2 * changes)


def write_without_end(path: Path, session_id: str, telling: Connection) -> None:
    """Run in a process: set the state, then archive or restore, in turn. Report the number of finished changes."""

    async def main() -> None:
        async with overlaid(f"sqlite:///{path}", *KILLED) as backend:
            made = _made(await backend.get_session(session_id))
            for change in count(made + 1):
                step = (change + 1) // 2
                if change % 2:
                    state = {"step": step, "padding": "x" * (step % 7 * 3_000)}
                    await backend.update_session_state(session_id, state)
                else:
                    await (backend.archive_session if step % 2 else backend.restore_session)(session_id)
                telling.send_bytes(str(change).encode())

    anyio.run(main)


def _made(session: SessionDetail) -> int:
    """Return how many changes a session shows. Each odd one sets the state, each even one archives or restores."""
    step = session.state.get("step", 0)
    assert len(session.state.get("padding", "")) == step % 7 * 3_000
    is_toggled = (session.archived_at is not None) is (step % 2 == 1)
    return 2 * step if is_toggled else 2 * step - 1


@contextmanager
def _writer(path: Path, session_id: str) -> Generator[tuple[ForkServerProcess, Connection]]:
    processes = context()
    told, telling = processes.Pipe(duplex=False)
    process = processes.Process(target=write_without_end, args=(path, session_id, telling))
    process.start()
    telling.close()
    with told:
        try:
            yield process, told
        finally:
            process.kill()
            process.join(PATIENCE)


def _kill_both(path: Path, chance: random.Random) -> dict[str, int]:
    """Kill two writing processes. Return the last number of changes that each has reported, by its session."""
    with _writer(path, KILLED[0]) as (one, told_one), _writer(path, KILLED[1]) as (two, told_two):
        wait([told_one, told_two], PATIENCE)
        one.join(chance.uniform(0, 0.05))
        for process in chance.sample([one, two], 2):
            process.kill()
        return {name: max(_reports(told), default=0) for name, told in zip(KILLED, (told_one, told_two), strict=True)}


def _reports(told: Connection) -> Generator[int]:
    try:
        while True:
            yield int(told.recv_bytes())
    except EOFError:
        return


@pytest.mark.slow
async def test_acknowledged_changes_survive_kill_9(overlay_path: Path) -> None:
    chance = random.Random(3)
    made = dict.fromkeys(KILLED, 0)
    rounds = 26  # two kills each
    for _ in range(rounds):
        reported = _kill_both(overlay_path, chance)
        async with overlaid(f"sqlite:///{overlay_path}", *KILLED) as backend:
            for session_id in KILLED:
                acknowledged = reported[session_id] or made[session_id]
                made[session_id] = _made(await backend.get_session(session_id))
                assert made[session_id] in (acknowledged, acknowledged + 1)
    assert sum(made.values()) >= rounds
    with closing(sqlite3.connect(overlay_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
