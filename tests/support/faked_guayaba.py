"""What the tests on the fake Guayaba share: our backend on it, a client of our server on that, and what it was sent."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.client import Client

from mcp_sessions import create_server
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import SessionsError
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    SessionFilter,
)

from .clients import ALL, text_of
from .fakes.guayaba import Agent, FakeGuayaba, Reading, Request
from .fakes.guayaba.seeds import row

Operation = Callable[[SessionBackend], Awaitable[object]]
KEY = "agent:main:api:trip"
OLD = "agent:main:api:old"


@dataclass
class Tools:
    """A connected client of our server, and the fake behind it."""

    client: Client
    fake: FakeGuayaba
    backend: SessionBackend

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call. Check that the text block and the structured content are equal."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content == json.loads(text_of(result))
        return result.structured_content

    async def error(self, tool: str, **arguments: Any) -> str:
        """Return the error text of a call that fails."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, text_of(result)
        assert "\n" not in text_of(result)
        return text_of(result)

    async def ids(self, **arguments: Any) -> list[str]:
        return [session["id"] for session in (await self.call("list_sessions", **arguments))["sessions"]]


@asynccontextmanager
async def on(
    fake: FakeGuayaba, token: str = "", *, query: str = "", seconds: float = 25
) -> AsyncGenerator[SessionBackend]:
    """Yield an open backend, with the master key unless another one is given."""
    token = token or fake.master_key
    async with open_backend(f"guayaba+{fake.url}{query}", token=token, timeout=seconds) as backend:
        yield backend


@asynccontextmanager
async def faked(
    reading: Reading | str = "default", *, seconds: float = 25
) -> AsyncGenerator[tuple[FakeGuayaba, SessionBackend]]:
    """Yield a fake whose first agent has an active and an archived session, and a backend with that agent's key."""
    async with FakeGuayaba(reading) as fake:
        agent = fake.agents[0]
        seed(fake, agent)
        async with on(fake, fake.agent_key(agent), query=f"?agent={agent.id}", seconds=seconds) as backend:
            yield fake, backend


@asynccontextmanager
async def served(
    fake: FakeGuayaba, token: str = "", *, query: str = "", seconds: float = 25, **options: Any
) -> AsyncGenerator[Tools]:
    """Yield a client of a server on the backend. By default, it offers all toolsets and asks for no confirmation."""
    backend = open_backend(f"guayaba+{fake.url}{query}", token=token or fake.master_key, timeout=seconds)
    options = {"toolsets": ALL, "confirm": "off"} | options
    server = create_server(backend, **options)
    async with Client(server) as client:
        yield Tools(client, fake, backend)


def seed(fake: FakeGuayaba, agent: Agent) -> None:
    said: Sequence[JsonObject] = [{"id": "m1", "role": "user", "content": "Where to?", "timestamp": 1_714_564_700_000}]
    fake.add_session(agent, row(KEY, fake.new_id(), label="Trip"), said)
    fake.add_archive(agent, row(OLD, fake.new_id(), label="Old"), said)


async def archived_id(backend: SessionBackend) -> str:
    """Return the id of the only archived session."""
    (session,) = (await backend.list_sessions(SessionFilter(archived=True))).sessions
    return session.id


async def outcome(operation: Operation, backend: SessionBackend) -> str:
    """Return the code of the error that an operation raises, "" if it succeeds."""
    try:
        await operation(backend)
    except SessionsError as error:
        assert error.message.isprintable()
        return error.code
    return ""


def everything(fake: FakeGuayaba) -> Mapping[str, object]:
    """Return all that the fake stores, without the times of changes."""
    return {
        agent.id: (
            [{name: value for name, value in session.row.items() if name != "updatedAt"} for session in agent.sessions],
            [(archive.filename, archive.label) for archive in agent.archives],
        )
        for agent in fake.access.agents
    }


def posts(fake: FakeGuayaba) -> list[Request]:
    """Return the requests that may change something."""
    return [
        request
        for request in fake.requests
        if request.method != "GET" and not request.path.endswith("/sessions/history")
    ]


def assert_key_is_only_in_its_header(fake: FakeGuayaba, token: str) -> None:
    for request in fake.requests:
        assert request.headers["authorization"] == f"Bearer {token}"
        assert request.headers["host"] == fake.origin.removeprefix("http://")
        assert request.head.count(token) == 1
        assert token not in request.body.decode()
