"""Several server processes of one user on one AgentOS: no acknowledged change is lost."""

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Busy, Conflict

from ...support.faked_agentos import on_each_fake, session, state_of
from ...support.fakes.agentos import FakeAgentOs, Version
from ...support.store_processes import context, run_together

PROCESSES, TIMES = 2, 5


def increment(url: str, folder: Path, together: Barrier, *, by_version: bool) -> None:
    """Add 1 to a number in the state, in a process of its own."""

    async def main() -> None:
        async with open_backend(url, data_folder=str(folder)) as backend:
            together.wait()
            for number in range(TIMES):
                await (_increment(backend) if by_version else backend.update_session_state("s", _own(number)))

    anyio.run(main)


async def _increment(backend: SessionBackend) -> None:
    while True:
        found = await backend.get_session("s")
        increased = {"count": found.state["count"] + 1}
        try:
            await backend.update_session_state("s", increased, expected_version=found.version)
        except (Conflict, Busy):
            continue
        return


def _own(number: int) -> dict[str, object]:
    return {f"{number} of {os.getpid()}": number}


@pytest.mark.slow
@pytest.mark.parametrize("by_version", [True, False], ids=("increments", "keys of their own"))
@on_each_fake
async def test_changes_of_two_processes_are_all_kept(version: Version, by_version: bool, tmp_path: Path) -> None:
    processes = context()
    together = processes.Barrier(PROCESSES)
    async with FakeAgentOs(version) as fake:
        fake.seed(session("s", state={"count": 0}))
        made = [
            processes.Process(
                target=increment,
                args=(f"agentos+{fake.url}", tmp_path, together),
                kwargs={"by_version": by_version},
            )
            for _ in range(PROCESSES)
        ]
        await anyio.to_thread.run_sync(run_together, made)
        state = state_of(fake, "s")
        assert state["count"] == PROCESSES * TIMES if by_version else len(state) == 1 + PROCESSES * TIMES
