"""Two servers over HTTP on one PostgreSQL, with clients that switch between them: no acknowledged change is lost."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions.caller import Scope
from mcp_sessions.transports.auth.tokens import new_token
from tests.support.databases import EmptyDatabase
from tests.support.http_calls import Calls, calls
from tests.support.http_server import Server, running

CLIENTS = 8
SESSIONS = 8
KEY = "a key that both replicas have, and nobody else"


@asynccontextmanager
async def replicas(postgres: EmptyDatabase, folder: Path) -> AsyncGenerator[tuple[Sequence[Server], str]]:
    """Yield two servers on one database, and the token of one user."""
    token, line = new_token("ann", list(Scope), None)
    (folder / "tokens").write_text(line)
    options = ["--port", "0", "--rate", "0", "--backend", postgres.url]
    options += ["--tokens", str(folder / "tokens"), "--audit", str(folder / "audit")]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                running(folder, *options, deadline=240, variables={"MCP_SESSIONS_STATE_KEY": KEY})
            )
            for _ in range(2)
        ]
        yield servers, token


class Counter:
    """Counts up numbers in the states of sessions, as others do too: reads, adds one, writes if it is unchanged."""

    def __init__(self, peers: Sequence[Calls], session_ids: Sequence[str], times: int) -> None:
        self._times = times
        self._peers = list(peers)
        self._session_ids = session_ids
        self.acknowledged = 0
        self.has_begun = anyio.Event()

    async def count(self) -> None:
        tries = 0
        while self.acknowledged < self._times:
            peer = self._peers[tries % len(self._peers)]
            tries += 1
            try:
                self.acknowledged += await self._count_once(peer, self._session_ids[tries % len(self._session_ids)])
            except httpx2.TransportError:
                self._peers.remove(peer)  # its server is gone
            if self.acknowledged >= self._times / 4:
                self.has_begun.set()

    async def _count_once(self, peer: Calls, session_id: str) -> bool:
        """Try to increment the number. Return whether the change was acknowledged."""
        shown = await peer.call("get_session", session_id=session_id)
        changes = {"count": shown["state"]["count"] + 1}
        result = await peer.result(
            "update_session_state", session_id=session_id, changes=changes, expected_version=shown["version"]
        )
        if result.get("isError"):
            assert result["content"][0]["text"].startswith("conflict: ")
        return not result.get("isError")


async def counted_together(servers: Sequence[Server], token: str, times: int, *, killed: bool) -> tuple[int, int]:
    """Return how many increments were acknowledged, and the stored total. One server may be killed meanwhile."""
    async with AsyncExitStack() as stack:
        peers = [
            [await stack.enter_async_context(calls(server.url, token=token)) for server in servers]
            for _ in range(CLIENTS)
        ]
        last = peers[0][-1]
        ids = [(await last.call("create_session", state={"count": 0}))["id"] for _ in range(SESSIONS)]
        counters = [Counter(own, ids[place:] + ids[:place], times) for place, own in enumerate(peers)]
        async with anyio.create_task_group() as tasks:
            for counter in counters:
                tasks.start_soon(counter.count)
            if killed:
                await counters[0].has_begun.wait()
                servers[0].process.kill()
        states = [(await last.call("get_session", session_id=session_id))["state"] for session_id in ids]
        return sum(counter.acknowledged for counter in counters), sum(state["count"] for state in states)


@pytest.mark.load
async def test_increments_through_two_replicas_are_all_kept(postgres: EmptyDatabase, tmp_path: Path) -> None:
    async with replicas(postgres, tmp_path) as (servers, token):
        assert await counted_together(servers, token, 40, killed=False) == (320, 320)


@pytest.mark.load
async def test_changes_acknowledged_by_a_killed_replica_are_kept(postgres: EmptyDatabase, tmp_path: Path) -> None:
    async with replicas(postgres, tmp_path) as (servers, token):
        acknowledged, counted = await counted_together(servers, token, 25, killed=True)
        assert acknowledged == 200
        assert acknowledged <= counted <= acknowledged + CLIENTS  # each may have had one call whose answer was lost


async def test_cursors_and_confirmations_continue_at_the_other_replica(postgres: EmptyDatabase, tmp_path: Path) -> None:
    async with replicas(postgres, tmp_path) as (servers, token), AsyncExitStack() as stack:
        # Of the older era, whose clients can't be asked over HTTP without a session: they get a code.
        one, other = [await stack.enter_async_context(calls(server.url, "2025-11-25", token)) for server in servers]
        ids = {(await one.call("create_session", name="mine"))["id"] for _ in range(5)}
        first = await one.call("list_sessions", limit=3)
        second = await other.call("list_sessions", limit=3, cursor=first["next_cursor"])
        assert {session["id"] for page in (first, second) for session in page["sessions"]} == ids
        asked = (await one.result("delete_session", session_id=min(ids)))["content"][0]["text"]
        code = re.search(r'confirm="(\w+)"', asked)
        assert code is not None
        await other.call("delete_session", session_id=min(ids), confirm=code[1])
