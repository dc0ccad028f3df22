"""Many processes on one file: no change is lost, and callers see no lock errors."""

import os
from collections.abc import Awaitable, Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Conflict

from ...support.store_files import assert_whole, connected, opened
from ...support.store_processes import context, on_store, run_together

Work = Callable[[SessionBackend, str, int, Barrier], Awaitable[None]]
PROCESSES = 8


async def increment_by_version(backend: SessionBackend, session_id: str, times: int, together: Barrier) -> None:
    together.wait()
    for _ in range(times):
        while True:
            session = await backend.get_session(session_id)
            increased = {"count": session.state["count"] + 1}
            try:
                await backend.update_session_state(session_id, increased, expected_version=session.version)
            except Conflict:
                continue
            break


async def merge_own_keys(backend: SessionBackend, session_id: str, times: int, together: Barrier) -> None:
    together.wait()
    for number in range(times):
        await backend.update_session_state(session_id, {f"{os.getpid()}": {f"{number}": True}})


async def increment_naively(backend: SessionBackend, session_id: str, times: int, together: Barrier) -> None:
    together.wait()
    for _ in range(times):
        session = await backend.get_session(session_id)
        await backend.update_session_state(session_id, {"count": session.state["count"] + 1}, mode="replace")


async def _state_after(path: Path, work: Work, times: int) -> dict[str, object]:
    async with opened(path) as backend:
        session_id = (await backend.create_session(state={"count": 0})).id
        processes = context()
        together = processes.Barrier(PROCESSES)
        run_together(
            [
                processes.Process(target=on_store, args=(path, work, session_id, times, together))
                for _ in range(PROCESSES)
            ]
        )
        return (await backend.get_session(session_id)).state


@pytest.mark.slow
async def test_increments_guarded_by_versions_are_not_lost(path: Path) -> None:
    assert await _state_after(path, increment_by_version, 100) == {"count": PROCESSES * 100}
    assert_whole(path)


@pytest.mark.slow
async def test_concurrent_merges_are_all_kept(path: Path) -> None:
    state = await _state_after(path, merge_own_keys, 100)
    assert state.pop("count") == 0
    assert list(state.values()) == [{f"{number}": True for number in range(100)}] * PROCESSES


@pytest.mark.slow
async def test_increments_without_versions_can_be_lost(path: Path) -> None:
    """The control: if no change were lost here, the tests above would prove nothing."""
    (count,) = (await _state_after(path, increment_naively, 50)).values()
    assert isinstance(count, int)
    assert 0 < count < PROCESSES * 50


def open_and_change(path: Path, times: int, together: Barrier) -> None:
    """Run in each process."""

    async def main() -> None:
        for number in range(times):
            async with opened(path) as backend:
                session = await backend.create_session(name=f"{number}")
                await backend.archive_session(session.id)

    together.wait()
    anyio.run(main)


def test_a_process_can_open_the_store_while_others_change_it(path: Path) -> None:
    processes = context()
    together = processes.Barrier(PROCESSES)
    run_together([processes.Process(target=open_and_change, args=(path, 15, together)) for _ in range(PROCESSES)])
    with connected(path) as connection:
        archived = connection.execute("SELECT count(*) FROM sessions WHERE archived_at IS NOT NULL").fetchone()
    assert archived == (PROCESSES * 15,)
    assert_whole(path)
