"""Many clients of one server at the same time: each gets the responses to its own calls."""

import json
import os
import re
from pathlib import Path

import anyio
import pytest

from mcp_sessions.caller import Scope
from mcp_sessions.transports.auth.tokens import new_token
from tests.support.http_calls import Calls, calls
from tests.support.http_server import Server, running

CLIENTS = 64
CALLS = int(os.environ.get("CALLS", "1000"))
ERAS = ("2026-07-28", "2025-11-25")


class Canary:
    """A client that checks each response for other clients' content."""

    def __init__(self, number: int, token: str) -> None:
        self._own = f"canary-{number}."
        self._token = token
        self._era = ERAS[number % len(ERAS)]
        self._id = ""
        self.asked = 0

    async def run(self, server: Server, calls_each: int) -> None:
        async with calls(server.url, self._era, self._token) as peer:
            created = await peer.call("create_session", name=f"{self._own} rests", state={"bird": self._own})
            self._id = created["id"]
            for number in range(1, calls_each):
                self._check(await self._ask(peer, number))

    async def _ask(self, peer: Calls, number: int) -> object:
        own = {"X_Session_Id": self._id}
        match number % 5:
            case 0:
                return await peer.call("rename_session", headers=own, session_id="current", name=f"{self._own} sings")
            case 1:
                return await peer.call("get_session", headers=own, session_id="current")
            case 2:
                return await peer.call("search_sessions", query="canary")
            case 3:
                return await peer.call("get_session", session_id=self._id)
            case _:
                return await peer.call("list_sessions", query="canary")

    def _check(self, answer: object) -> None:
        assert set(re.findall(r"canary-\d+\.", json.dumps(answer))) == {self._own}
        self.asked += 1


@pytest.mark.load
async def test_64_clients_with_the_same_request_ids_get_only_their_own_responses(tmp_path: Path) -> None:
    made = [new_token(f"user-{number}", list(Scope), None) for number in range(CLIENTS)]
    (tmp_path / "tokens").write_text("".join(f"{line}\n" for _, line in made))
    canaries = [Canary(number, token) for number, (token, _) in enumerate(made)]
    each = CALLS // CLIENTS + 1
    options = ("--port", "0", "--tokens", str(tmp_path / "tokens"), "--rate", "0", "--audit", str(tmp_path / "audit"))
    async with running(tmp_path, *options, deadline=300) as server, anyio.create_task_group() as tasks:
        for canary in canaries:
            tasks.start_soon(canary.run, server, each)
    assert sum(canary.asked for canary in canaries) >= CALLS - CLIENTS
    changes = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    ids = {change["session_id"]: change["subject"] for change in changes if change["tool"] == "create_session"}
    assert len(ids) == CLIENTS
    assert all(ids[change["session_id"]] == change["subject"] for change in changes)
