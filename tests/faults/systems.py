"""The systems that are reached over HTTP, faked, each with a session for every tool, named after it."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.client import Client

from mcp_sessions import create_server, open_backend
from mcp_sessions.tools import TOOLSETS

from ..contract.harness import Seed
from ..contract.samples import exchanges
from ..support.clients import ALL
from ..support.faked_agentos import SeenAgentOs, session
from ..support.fakes.agentos import FakeAgentOs
from ..support.fakes.guayaba import FakeGuayaba
from ..support.fakes.guayaba.seeds import row, user
from ..support.fakes.opencode import FakeOpencode, seeded
from ..support.servers.toxic_server import Received
from ..tools.test_bad_input import good_arguments

TOKEN = "hunter2-the-token"
TOOLS = {spec.name: spec.effect for toolset in TOOLSETS for spec in toolset.specs}


def named(tool: str) -> str:
    """Return the name of a tool's session, which is not part of any other name."""
    return f"{tool}-0"


@dataclass(frozen=True)
class System:
    """A fake, and how to look at it. `url` is the backend's at an origin; `rows` are all that it keeps."""

    fake: FakeAgentOs | FakeGuayaba | FakeOpencode
    origin: str
    token: str
    url: Callable[[str], str]
    rows: Callable[[], Iterable[object]]
    is_change: Callable[[Received], bool]

    def kept(self, tool: str) -> list[str]:
        """Return what the system stores of a tool's session and its copies, without what differs between test runs."""
        rows = [_MINTED.sub("*", json.dumps(row)) for row in self.rows()]
        return sorted(row for row in rows if named(tool) in row)


_MINTED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.-]+Z|\b[12]\d{9}(\d{3})?\b")
"""Ids and times."""


@asynccontextmanager
async def agentos() -> AsyncGenerator[System]:
    seeds = {tool: session(named(tool), name=named(tool), state={"kept": 1}) for tool in TOOLS}
    seeds["restore_session"]["metadata"] = {"archived_at": "2026-01-02T03:04:05Z"}
    del seeds["create_session"]
    async with SeenAgentOs(security_key=TOKEN) as fake:
        fake.seed(*seeds.values())
        yield System(
            fake,
            fake.url,
            TOKEN,
            lambda origin: f"agentos+{origin}?recheck=off",
            lambda: fake.everything().values(),
            lambda asked: asked.method != "GET",
        )


@asynccontextmanager
async def guayaba() -> AsyncGenerator[System]:
    async with FakeGuayaba() as fake:
        agent = fake.agents[0]
        for tool in TOOLS:
            add = fake.add_archive if tool == "restore_session" else fake.add_session
            add(agent, row(f"agent:main:api:{named(tool)}", fake.new_id(), label=named(tool)), [user("Hello", id="m1")])

        def rows() -> Iterable[object]:
            for session in agent.sessions:
                yield {name: value for name, value in session.row.items() if name != "updatedAt"}
            for archive in agent.archives:
                yield [archive.filename, archive.label, archive.session.row["key"]]

        yield System(
            fake,
            fake.origin,
            fake.agent_key(agent),
            lambda origin: f"guayaba+{origin}/api/v1?agent={agent.id}",
            rows,
            lambda asked: asked.method == "POST" and not asked.target.endswith("/history"),
        )


@asynccontextmanager
async def opencode() -> AsyncGenerator[System]:
    async with FakeOpencode(password=TOKEN) as fake:
        for tool in TOOLS:
            name, is_archived = named(tool), tool == "restore_session"
            fake.add(seeded(Seed(name=name, archived=is_archived, runs=exchanges(1))))

        def rows() -> Iterable[object]:
            for session_id, session in fake.store.sessions.items():
                times = {"archived": session["time"].get("archived", 0) > 0}
                said = [part["text"] for row in fake.store.messages[session_id] for part in row["parts"]]
                yield [session["title"], session.get("metadata"), times, said]

        yield System(
            fake,
            fake.origin,
            TOKEN,
            lambda origin: f"opencode+{origin}",
            rows,
            lambda asked: asked.method != "GET",
        )


SYSTEMS: Mapping[str, Callable[[], AbstractAsyncContextManager[System]]] = {
    "agentos": agentos,
    "guayaba": guayaba,
    "opencode": opencode,
}


@asynccontextmanager
async def client_of(system: System, origin: str, folder: Path, seconds: float) -> AsyncGenerator[Client]:
    """Yield a client of a server on the system at this origin. A call has `seconds`."""
    url = system.url(origin)
    backend = open_backend(url, timeout=seconds, token=system.token, data_folder=str(folder))
    async with Client(create_server(backend, toolsets=ALL, confirm="off")) as client:
        yield client


async def arguments_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return valid arguments for each tool that is offered, found while the system has no faults."""
    offered = [tool.name for tool in (await client.list_tools()).tools]
    ids: dict[str, str] = {}
    for archived in (False, True):
        listed = await client.call_tool("list_sessions", {"archived": archived, "limit": 100})
        assert listed.structured_content is not None
        ids |= {session["name"]: session["id"] for session in listed.structured_content["sessions"]}
    given = {tool: good_arguments(tool, ids.get(named(tool), "")) for tool in offered}
    given.get("create_session", {})["name"] = named("create_session")
    return given
