"""Metadata that several programs merge at the same time, of which opencode itself would keep one change."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Busy
from mcp_sessions.json_documents import JsonObject

from ...contract.harness import Seed
from ...support.fakes.opencode import FakeOpencode, seeded
from ...support.servers.opencode_process import are_installed, running


async def merge_once(backend: SessionBackend, session_id: str, metadata: JsonObject) -> None:
    """Merge keys, again while the others keep the lock: a slow server needs longer for all changes than one waits."""
    while True:
        try:
            await backend.update_session(session_id, metadata=metadata)
        except Busy:
            continue
        return


async def merge_at_the_same_time(
    urls: Sequence[str], session_id: str, folder: Path, *, changes: int, token: str = ""
) -> None:
    """Merge keys through several backends, each of which stands for a program, and compare what is kept."""
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(open_backend(url, token=token, data_folder=str(folder))) for url in urls
        ]

        async def merge(number: int, backend: SessionBackend) -> None:
            for change in range(changes):
                await merge_once(backend, session_id, {f"{number}-{change}": change})

        async with anyio.create_task_group() as tasks:
            for number, backend in enumerate(backends):
                tasks.start_soon(merge, number, backend)
        metadata = (await backends[0].get_session(session_id)).metadata
        assert metadata == {f"{number}-{change}": change for number in range(len(urls)) for change in range(changes)}


async def test_metadata_that_is_merged_at_the_same_time_is_all_kept(tmp_path: Path) -> None:
    """Two servers have the same database, as an opencode that is open and the one that is started for changes."""
    async with FakeOpencode() as fake, FakeOpencode() as other:
        other.store = fake.store
        (session_id,) = fake.add(seeded(Seed(name="Trip")))
        urls = [f"opencode+{server.origin}" for server in (fake, other)] * 2
        await merge_at_the_same_time(urls, session_id, tmp_path, changes=25)


if are_installed():  # else it is not there, rather than skipped

    @pytest.mark.load
    async def test_metadata_that_is_merged_at_the_same_time_in_a_real_opencode_is_all_kept(tmp_path: Path) -> None:
        server = running("1.18.33")
        (session_id,) = server.seed(seeded(Seed(name="Trip")))
        local = f"opencode://{server.database}?command={server.program}&timeout=120"
        urls = [server.backend_url, local] * 2
        await merge_at_the_same_time(urls, session_id, tmp_path, changes=3, token=server.password)
