"""A process that is killed while it deletes or restores a session: the session, or its copy in the trash, is whole."""

import os
import signal
import sys
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.registry import open_backend

from ...contract.harness import Seed
from ...contract.samples import WEATHER
from ...support.fakes.http import Request, Response
from ...support.fakes.opencode import FakeOpencode, seeded
from ...support.store_processes import PATIENCE, context

KILLS = int(os.environ.get("KILLS", "1"))
_STEPS = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree", "os.scandir"}
"""The events of the interpreter between which a kill makes a difference to files."""

pytestmark = pytest.mark.slow  # it starts processes


class CountingOpencode(FakeOpencode):
    """One that counts its requests, and kills a process before or after it does what a request asks for."""

    victim = 0
    kill_at = -1
    steps = 0

    def _answer(self, request: Request) -> Response:
        self._step()
        response = super()._answer(request)
        self._step()
        return response

    def _step(self) -> None:
        if self.steps == self.kill_at:
            os.kill(self.victim, signal.SIGKILL)
        self.steps += 1


def run(url: str, folder: str, tool: str, session_id: str, kill_at: int) -> None:
    """Make a change in a process of its own. Kill it before a step in the trash, or exit with the number of steps."""
    steps = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event in _STEPS and f"{folder}/deleted/" in str(arguments[0]):
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    async def main() -> None:
        async with open_backend(url, data_folder=folder) as backend:
            sys.addaudithook(count)
            await getattr(backend, tool)(session_id)

    anyio.run(main)
    os._exit(steps)


async def run_process(
    fake: CountingOpencode, folder: Path, tool: str, session_id: str, *, request: int = -1, step: int = -1
) -> int:
    """Run a tool in a process that is killed at a request or at a step in the trash. Return its exit status."""
    process = context().Process(target=run, args=(f"opencode+{fake.origin}", str(folder), tool, session_id, step))
    process.start()
    fake.victim, fake.kill_at, fake.steps = process.pid or 0, request, 0
    await run_sync(process.join, PATIENCE)
    return -1 if process.exitcode is None else process.exitcode


@pytest.mark.parametrize(
    ("tool", "version"),
    [
        ("delete_session", "1.18.33"),
        ("restore_session", "1.18.33"),
        pytest.param("restore_session", "1.15.13", marks=pytest.mark.variants),
    ],
)
async def test_a_session_or_its_copy_is_whole_after_a_kill(tool: str, version: str, tmp_path: Path) -> None:
    async with CountingOpencode(version=version) as fake:
        ids = fake.add(seeded(Seed(name="Trip", runs=WEATHER)), seeded(Seed(runs=WEATHER)))
        for parent, child in pairwise(ids):
            fake.store.sessions[child]["parentID"] = parent
        url = f"opencode+{fake.origin}"
        before = deepcopy((fake.store.sessions, fake.store.messages))

        async def prepare(*, is_deleted: bool = tool == "restore_session") -> None:
            if is_deleted:
                async with open_backend(url, data_folder=str(tmp_path)) as backend:
                    await backend.delete_session(ids[0])

        async def recover() -> None:
            async with open_backend(url, data_folder=str(tmp_path)) as backend:
                await backend.restore_session(ids[0])
                assert (fake.store.sessions, fake.store.messages) == before

        await prepare(is_deleted=True)
        await recover()  # the folders are there now, so that each run has the same steps at least
        await prepare()
        steps = await run_process(fake, tmp_path, tool, ids[0])
        requests = fake.steps
        assert steps > 5
        await recover()
        for kind, count in (("step", steps), ("request", requests)):
            for number in range(KILLS):
                await prepare()
                at = count * (2 * number + 1) // (2 * KILLS) % count
                assert await run_process(fake, tmp_path, tool, ids[0], **{kind: at}) == -signal.SIGKILL
                if ids[0] in fake.store.sessions and tool == "delete_session":
                    assert (fake.store.sessions, fake.store.messages) == before
                await recover()
