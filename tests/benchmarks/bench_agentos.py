"""What our tools add to the REST API of a real AgentOS: the same operation through us and bare, in turns in one run.

MCP_SESSIONS_AGENTOS=FOLDER python -m tests.benchmarks.bench_agentos [--version 2.5.6] [--sessions 300] [--rounds 100]

Bare is an httpx2 client that keeps its connection and decodes the answer. Exits with 1 when a goal is missed.
"""

import argparse
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from os import getloadavg
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Self

import anyio
import httpx2
from mcp.client import Client
from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent

from mcp_sessions import create_server
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import JsonObject
from tests.benchmarks.agentos_seeds import RARE, stored_sessions
from tests.support.servers.agentos_process import VERSIONS, AgentOs, are_installed, running

MAX_ADDED = 0.003  # seconds, to one request
MAX_SHOWN = 1 / 3  # of the characters of AgentOS's own list
BLOCK = 0.7  # seconds of changes through one backend: it looks at each again after one second, and here nothing may
WARM_UP = 2  # rounds
PAGE = 20
READS = 8  # at once, in a bare search
SEARCHES = 3


Call = Callable[[int], Awaitable[object]]
"""One operation, in the round of this number."""
Taken = Mapping[str, Sequence[float]]
"""Seconds that each variant took, round by round."""


@dataclass(frozen=True)
class Sides:
    """Both ways to one AgentOS, a client of an empty tool, and the sessions: {id: type}."""

    server: AgentOs
    client: Client
    http: httpx2.AsyncClient
    empty: Client
    types: Mapping[str, str]

    @classmethod
    @asynccontextmanager
    async def open(cls, server: AgentOs, count: int) -> AsyncGenerator[Self]:
        sessions = list(stored_sessions(count))
        await server.clear()
        await server.seed(*sessions)
        types = {session["session_id"]: session["type"] for session in sessions}
        async with _client(server) as client, server.client() as http, Client(_empty_server()) as empty:
            yield cls(server, client, http, empty, types)

    @asynccontextmanager
    async def anew(self) -> AsyncGenerator["Sides"]:
        """Yield these sides with a backend that has changed nothing yet."""
        async with _client(self.server) as client:
            yield replace(self, client=client)

    async def call(self, tool: str, **arguments: object) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return result

    async def bare(
        self, method: str, path: str, params: Mapping[str, str | int] = {}, *, json: JsonObject | None = None
    ) -> Any:
        answer = await self.http.request(method, path, params=params, json=json)
        answer.raise_for_status()
        return answer.json()

    def of_type(self, type: str) -> list[str]:
        return [session_id for session_id, its in self.types.items() if its == type]


@asynccontextmanager
async def _client(server: AgentOs) -> AsyncGenerator[Client]:
    with TemporaryDirectory() as folder:
        async with Client(create_server(open_backend(server.backend_url, data_folder=folder))) as client:
            yield client


def _empty_server() -> MCPServer:
    server = MCPServer("empty")

    @server.tool()
    async def look() -> str:  # pyright: ignore[reportUnusedFunction]  # it is registered
        return "ok"

    return server


async def timed(variants: Mapping[str, Call], rounds: int, *, first: int = 0, seconds: float = inf) -> Taken:
    """Measure each variant once a round, in any order, for `seconds`. `first` is the number of the first round."""
    chance = random.Random(first)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    stops_at = perf_counter() + seconds
    for number in range(first, first + WARM_UP + rounds):
        for name in chance.sample(list(variants), len(variants)):
            begun = perf_counter()
            await variants[name](number)
            taken[name].append(perf_counter() - begun)
        if perf_counter() > stops_at:
            break
    return {name: times[WARM_UP:] for name, times in taken.items()}


async def timed_changes(sides: Sides, name: str, rounds: int) -> Taken:
    """Measure changes in blocks, each through a backend of its own, which ends before its background work begins."""
    taken: dict[str, list[float]] = {}
    number = 0
    while len(taken.get("ours", ())) < rounds:
        async with sides.anew() as fresh:
            block = await timed(changes(fresh)[name], rounds, first=number, seconds=BLOCK)
        number += WARM_UP + len(block["ours"])
        for variant, times in block.items():
            taken.setdefault(variant, []).extend(times)
    return taken


def reads(sides: Sides) -> dict[str, dict[str, Call]]:
    agents, workflows = cycle(sides.of_type("agent")), cycle(sides.of_type("workflow"))
    newest = {"limit": PAGE, "sort_by": "updated_at", "sort_order": "desc"}
    return {
        "get": {
            "ours": lambda number: sides.call("get_session", session_id=agents(number)),
            "bare": lambda number: sides.bare("GET", f"/sessions/{agents(number)}"),
            "empty": lambda number: sides.empty.call_tool("look", {}),
        },
        "get, a workflow's": {
            "ours": lambda number: sides.call("get_session", session_id=workflows(number)),
            "bare": lambda number: sides.bare("GET", f"/sessions/{workflows(number)}", {"type": "workflow"}),
        },
        "list": {
            "ours": lambda number: sides.call("list_sessions", limit=PAGE),
            "bare": lambda number: sides.bare("GET", "/sessions", newest),
        },
        "history": {
            "ours": lambda number: sides.call("get_session_history", session_id=agents(number)),
            "bare": lambda number: sides.bare("GET", f"/sessions/{agents(number)}/runs"),
        },
    }


def changes(sides: Sides) -> dict[str, dict[str, Call]]:
    """Return the changes to measure. Our tools and direct requests change different sessions."""
    agents, workflows = sides.of_type("agent"), sides.of_type("workflow")
    ours, theirs = cycle(agents[::2]), cycle(agents[1::2])
    our_workflows, their_workflows = cycle(workflows[::2]), cycle(workflows[1::2])

    def get(number: int) -> Awaitable[Any]:
        return sides.bare("GET", f"/sessions/{theirs(number)}")

    async def reads_first(number: int) -> None:
        """Read what must be read before a change: before agno 3.0 also the runs, since a change may lose some."""
        await get(number)
        if sides.server.version == "2.5.6":
            await sides.bare("GET", f"/sessions/{theirs(number)}/runs")

    def rename(number: int) -> Awaitable[object]:
        return sides.bare("POST", f"/sessions/{theirs(number)}/rename", json={"session_name": f"Name {number}"})

    def rename_workflow(number: int) -> Awaitable[object]:
        route = f"/sessions/{their_workflows(number)}/rename"
        return sides.bare("POST", route, {"type": "workflow"}, json={"session_name": f"Name {number}"})

    async def set_step(number: int) -> object:
        """Send the requests that a client needs to merge a change."""
        state = (await get(number))["session_state"] | {"step": 100 + number}
        return await sides.bare("PATCH", f"/sessions/{theirs(number)}", json={"session_state": state})

    return {
        "rename": {
            "ours": lambda number: sides.call("rename_session", session_id=ours(number), name=f"Name {number}"),
            "bare": rename,
            "reads": reads_first,
        },
        "rename, a workflow's": {
            "ours": lambda number: sides.call(
                "rename_session", session_id=our_workflows(number), name=f"Name {number}"
            ),
            "bare": rename_workflow,
        },
        "state, merged": {
            "ours": lambda number: sides.call(
                "update_session_state", session_id=ours(number), changes={"step": 100 + number}
            ),
            "bare": set_step,
        },
    }


def search(sides: Sides) -> dict[str, Call]:
    """Measure a search for a word of the oldest session, and direct requests for all the runs that it has to read."""

    async def ours(_: int) -> None:
        found = (await sides.call("search_sessions", query=RARE)).structured_content
        assert found is not None
        assert len(found["hits"]) == 1
        assert found["searched_sessions"] == len(sides.types)

    async def bare(_: int) -> None:
        limiter = anyio.CapacityLimiter(READS)

        async def read(session_id: str, type: str) -> None:
            async with limiter:
                await sides.bare("GET", f"/sessions/{session_id}/runs", {"type": type})

        async with anyio.create_task_group() as tasks:
            for session_id, type in sides.types.items():
                tasks.start_soon(read, session_id, type)

    return {"ours": ours, "bare": bare}


def cycle(session_ids: Sequence[str]) -> Callable[[int], str]:
    """Return a function that returns the session of a round."""
    return lambda number: session_ids[number % len(session_ids)]


async def shown_characters(sides: Sides) -> tuple[int, int]:
    """Return the characters of our text block and of AgentOS's answer (2.5.6 lists only agents' sessions)."""
    result = await sides.call("list_sessions", limit=PAGE)
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.structured_content is not None
    assert len(result.structured_content["sessions"]) == PAGE
    answer = await sides.http.get("/sessions", params={"limit": PAGE})
    assert len(answer.json()["data"]) == PAGE
    return len(block.text), len(answer.text)


def added(taken: Taken) -> float:
    return median(taken["ours"]) - median(taken["bare"])


async def measure(server: AgentOs, count: int, rounds: int) -> list[str]:
    """Print the results, and return the goals that were missed."""
    async with Sides.open(server, count) as sides:
        ours, theirs = await shown_characters(sides)
        taken = {name: await timed(variants, rounds) for name, variants in reads(sides).items()}
        taken["search"] = await timed(search(sides), SEARCHES)
        taken |= {name: await timed_changes(sides, name, rounds) for name in changes(sides)}
    print(f"AgentOS {server.version}, {count} sessions, {rounds} rounds, load {getloadavg()[0]:.1f}")
    print(f"\n{'medians, ms':20} {'ours':>9} {'bare':>9} {'added':>9} {'ratio':>7}")
    for name, each in taken.items():
        mine, bare = median(each["ours"]), median(each["bare"])
        print(f"{name:20} {mine * 1e3:9.2f} {bare * 1e3:9.2f} {added(each) * 1e3:+9.2f} {mine / bare:6.2f} ×")
    empty, reading = median(taken["get"]["empty"]), median(taken["rename"]["reads"])
    print(
        f"\nan empty tool of the SDK's takes {empty * 1e3:.2f} ms, what a rename must read first {reading * 1e3:.2f} ms"
    )
    figures = (
        ("get adds", added(taken["get"]) * 1e3, MAX_ADDED * 1e3, "ms"),
        ("rename adds", added(taken["rename"]) * 1e3, (reading + MAX_ADDED) * 1e3, "ms"),
        (f"list of {PAGE}: {ours:,} of {theirs:,} characters", ours / theirs, MAX_SHOWN, ""),
    )
    missed: list[str] = []
    for name, figure, goal, unit in figures:
        print(f"{name} {figure:.2f} {unit}".rstrip(), f"(goal ≤ {goal:.2f}{f' {unit}' if unit else ''})")
        missed += [name] if figure > goal else []
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[0])
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=100)
    asked = parser.parse_args()
    if not are_installed():
        parser.error("MCP_SESSIONS_AGENTOS names no folder with AgentOS environments. .ci/agentos makes one.")
    missed = anyio.run(measure, running(asked.version), asked.sessions, asked.rounds)
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
