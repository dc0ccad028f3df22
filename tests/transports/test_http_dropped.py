"""A call whose client disconnects: its request to the backend is cancelled."""

from pathlib import Path
from statistics import median

import anyio
import httpx2
import pytest

from tests.support.http_calls import calls
from tests.support.http_server import DEADLINE, running
from tests.support.servers.toxic_server import Connection, toxic_server, whole

ERAS = pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])


class Held:
    """A response that is never sent, and ends when the client disconnects."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.left = anyio.Event()

    async def __call__(self, connection: Connection) -> None:
        self.asked.set()
        await connection.until_closed()
        self.left.set()
        await connection.close()


async def seconds_until_let_go(folder: Path, era: str, times: int) -> list[float]:
    """Return the seconds between a client's disconnection and the cancellation of the backend's request."""
    taken: list[float] = []
    async with toxic_server() as backend:
        backend.default = whole(404, b"{}")
        options = ("--port", "0", "--backend", f"agentos+{backend.url}", "--recheck", "off")
        async with running(folder, *options) as server:
            for _ in range(times):
                held = Held()
                async with (
                    httpx2.AsyncClient(timeout=DEADLINE, trust_env=False, verify=False) as http,
                    calls(server.url, era) as peer,
                ):
                    request = peer.request("list_sessions", {})
                    backend.default = held
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(http.send, request)
                        with anyio.fail_after(DEADLINE):
                            await held.asked.wait()
                        tasks.cancel_scope.cancel()
                dropped = anyio.current_time()
                with anyio.fail_after(DEADLINE):
                    await held.left.wait()
                taken.append(anyio.current_time() - dropped)
    return taken


@ERAS
async def test_a_dropped_call_cancels_its_request_to_the_backend(era: str, tmp_path: Path) -> None:
    assert len(await seconds_until_let_go(tmp_path, era, 2)) == 2


@pytest.mark.timing
@ERAS
async def test_a_dropped_call_is_cancelled_within_a_tenth_of_a_second(era: str, tmp_path: Path) -> None:
    assert median(await seconds_until_let_go(tmp_path, era, 9)) < 0.1
