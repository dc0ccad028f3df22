"""Many writes to real AgentOS servers: each changes only what it should, and none is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import pytest
from mcp.client import Client

from mcp_sessions import create_server
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Conflict
from mcp_sessions.json_documents import Json, JsonObject

from ...support.real_agentos import ASYNC, COMPONENTS, contents, opened, session
from ...support.servers.agentos_process import Version

Write = Callable[[int], tuple[str, JsonObject]]
WRITES: tuple[Write, ...] = (
    lambda number: ("rename_session", {"name": f"Name {number}"}),
    lambda number: ("update_session_state", {"changes": {f"key {number % 5}": number}}),
    lambda number: ("update_session_state", {"changes": {"whole": number}, "mode": "replace"}),
    lambda number: ("update_session", {"metadata": {f"key {number % 5}": [number]}}),
    lambda number: ("update_session", {"metadata": {"whole": number}, "clear": ["metadata"]}),
    lambda number: ("archive_session", {}),
    lambda number: ("restore_session", {}),
)
"""Tools and their arguments, without the session's id."""
on_each = pytest.mark.parametrize(
    ("version", "options"), [("3.1.10", ()), ("2.5.6", ASYNC)], ids=["3.1.10", "2.5.6-async"]
)
SAID = {"agent": "weather Rome", "team": "delegate look at it", "workflow": "weather Oslo"}


@on_each
async def test_any_write_keeps_every_run(version: Version, options: tuple[str, ...], tmp_path: Path) -> None:
    """Write each of `WRITES` to a session of each type that AgentOS ran, and to one that was seeded, in any order."""
    ids = {f"{type}-{origin}": type for type in COMPONENTS for origin in ("run", "seeded")}
    made = [session(id, type) for id, type in ids.items() if id.endswith("seeded")]
    async with opened(version, *options, seeds=made) as case:
        for type, component in COMPONENTS.items():
            for message in (SAID[type], "fail once", "and then?"):
                await case.server.run(type, component, f"{type}-run", message)
        before = await case.stored_runs()
        assert set(before) == set(ids)
        backend = open_backend(case.server.backend_url, data_folder=str(tmp_path))
        writes = [(id, *write(number)) for id in ids for number, write in enumerate(WRITES)]
        Random(4).shuffle(writes)
        async with Client(create_server(backend)) as client:
            for id, tool, arguments in writes:
                result = await client.call_tool(tool, {"session_id": id, **arguments})
                assert not result.is_error, result.content
        after = await case.stored_runs()
        # 3.x has runs in a table of their own, which no write of a session touches: not a byte differs.
        form = contents if version == "2.5.6" else _unchanged
        assert {id: form(runs) for id, runs in after.items()} == {id: form(runs) for id, runs in before.items()}


def _unchanged(value: Json) -> Json:
    return json.dumps(value, sort_keys=True)


@on_each
async def test_increments_of_eight_clients_are_all_kept(version: Version, options: tuple[str, ...]) -> None:
    async with opened(version, *options, seeds=[session("s", state={"count": 0})]) as case:

        async def increment_often() -> None:
            client = case.backend.for_caller(Caller())
            for _ in range(3):
                while not await _incremented(client):
                    pass

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(increment_often)
        assert (await case.seen("s"))["session_state"] == {"count": 24}


async def _incremented(backend: SessionBackend) -> bool:
    """Return whether nobody else changed the session between reading and writing it."""
    read = await backend.get_session("s")
    try:
        await backend.update_session_state("s", {"count": read.state["count"] + 1}, expected_version=read.version)
    except Conflict:
        return False
    return True


@on_each
async def test_keys_set_concurrently_by_eight_clients_are_all_kept(version: Version, options: tuple[str, ...]) -> None:
    async with opened(version, *options, seeds=[session("s")]) as case:

        async def set_keys(client: int) -> None:
            for number in range(5):
                await case.backend.update_session_state("s", {f"{client}-{number}": number})

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for client in range(8):
                    tasks.start_soon(set_keys, client)
        assert len((await case.seen("s"))["session_state"]) == 40
