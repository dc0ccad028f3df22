"""A system that is killed during a change: the result of the tool is true."""

import os
import random
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import anyio
import pytest
from mcp.client import Client

from mcp_sessions import create_server, open_backend

from ..support.faked_agentos import session
from ..support.fakes.agentos import FakeAgentOs, Request
from ..support.fakes.http import Response
from ..support.store_processes import PATIENCE, context
from .cases import code_of

KILLS = int(os.environ.get("KILLS", "60")) // 4


class TellingAgentOs(FakeAgentOs):
    """One that tells of each change that it has made, before it answers."""

    def __init__(self, telling: Connection) -> None:
        super().__init__()
        self._telling = telling

    def _answer(self, request: Request) -> Response:
        response = super()._answer(request)
        if request.method != "GET":
            self._telling.send(request.target)
        return response


def serve(telling: Connection) -> None:
    """Run the system in a process of its own, which first sends its URL."""

    async def main() -> None:
        async with TellingAgentOs(telling) as fake:
            fake.seed(session("s", state={"kept": 1}))
            telling.send(fake.url)
            await anyio.sleep_forever()

    anyio.run(main)


async def killed_at_work(folder: Path, chance: random.Random) -> tuple[str, int]:
    """Kill the system during a change. Return the change's outcome, and how often the system made the change."""
    told, telling = context().Pipe(duplex=False)
    process = context().Process(target=serve, args=(telling,))
    process.start()
    telling.close()
    made, codes = 0, list[str]()
    with told:
        backend = open_backend(f"agentos+{told.recv()}", timeout=2, recheck=False, data_folder=str(folder))
        async with Client(create_server(backend)) as client:

            async def change(number: int) -> None:
                arguments = {"session_id": "s", "changes": {"number": number}}
                with anyio.fail_after(PATIENCE):
                    codes.append(code_of(await client.call_tool("update_session_state", arguments)))

            await change(1)
            began = perf_counter()
            await change(2)
            seconds = perf_counter() - began
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(change, 3)
                await anyio.sleep(chance.uniform(0, 1.2 * seconds))
                process.kill()
        process.join(PATIENCE)
        with suppress(EOFError):
            while told.recv():
                made += 1
    assert codes[:2] == ["", ""]
    return codes[2], made - 2


@pytest.mark.load
async def test_the_result_of_a_change_is_true_if_the_system_was_killed_during_it(tmp_path: Path) -> None:
    chance = random.Random(5)
    seen = Counter([await killed_at_work(tmp_path, chance) for _ in range(KILLS)])
    print(seen)
    assert seen.keys() <= {("", 1), ("outcome_unknown", 0), ("outcome_unknown", 1), ("unavailable", 0), ("timeout", 0)}
    assert len(seen) > 1
