"""For a client that is limited to a user, no tool, resource or completion reveals anything of other users."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ResourceTemplateReference, TextContent, TextResourceContents

from mcp_sessions import create_server
from mcp_sessions.backends.base import Capability

from ..support.clients import ALL
from ..support.tool_arguments import ARGUMENTS, UNNAMED
from .harness import Seed, System
from .samples import WEATHER
from .several import Opened

TEMPLATE = ResourceTemplateReference(uri="session://{session_id}")


@asynccontextmanager
async def client_of(system: System, user: str) -> AsyncGenerator[Client]:
    server = create_server(Opened(system.backend), user=user, toolsets=ALL)
    async with Client(server) as client:
        yield client


async def said(client: Client, tool: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
    result = await client.call_tool(tool, dict(arguments))
    (block,) = result.content
    assert isinstance(block, TextContent)
    return bool(result.is_error), block.text


async def read(client: Client, uri: str) -> str:
    try:
        (content,) = (await client.read_resource(uri)).contents
    except MCPError as error:
        return f"{error.code} {error.message} {error.data}"
    assert isinstance(content, TextResourceContents)
    return content.text


async def answers(client: Client, session_id: str) -> dict[str, object]:
    """Return the results of every call that takes a session id, with the id replaced."""
    shown: dict[str, object] = {}
    for tool in (await client.list_tools()).tools:
        if tool.name in UNNAMED:
            continue
        several = "session_ids" in tool.input_schema["properties"]
        for extra in ARGUMENTS[tool.name]:
            named = {"session_ids": [session_id]} if several else {"session_id": session_id}
            shown[f"{tool.name} {json.dumps(extra)}"] = await said(client, tool.name, {**named, **extra})
    for uri in (f"session://{quote(session_id, safe='')}", f"session://{quote(session_id, safe='')}/transcript"):
        shown[uri] = await read(client, uri)
    completed = await client.complete(TEMPLATE, {"name": "session_id", "value": session_id})
    shown["completion"] = completed.completion.values
    written = json.dumps(shown, ensure_ascii=False)
    for form in (json.dumps(session_id)[1:-1], quote(session_id, safe="")):
        written = written.replace(form.replace("\\", "\\\\"), "ID")
    return json.loads(written)


async def overview(client: Client, system: System) -> dict[str, object]:
    """Return the results of every call that takes no session id."""
    shown: dict[str, object] = {}
    for archived in (False, True):
        for query in ("", "weather"):
            shown[f"list {archived} {query}"] = await said(
                client, "list_sessions", {"archived": archived, "query": query, "limit": 3}
            )
    if Capability.SEARCH_SESSIONS in system.harness.capabilities:
        for query in ("weather", "22", "absent"):
            shown[f"search {query}"] = await said(client, "search_sessions", {"query": query})
    shown["resources"] = [str(item.uri) for item in (await client.list_resources()).resources]
    for typed in ("", "weather"):
        completed = await client.complete(TEMPLATE, {"name": "session_id", "value": typed})
        shown[f"completion {typed}"] = completed.completion.model_dump()
    return shown


@pytest.mark.owes(Capability.GET_SESSION)
async def test_answers_about_another_users_session_equal_those_about_an_unknown_one(system: System) -> None:
    await system.seed(Seed(user_id="ann", name="Mine", runs=WEATHER))
    foreign = await system.seed(
        Seed(user_id="ben", name="Theirs", runs=WEATHER, state={"a": 0}), Seed(user_id="ben", name="Theirs, empty")
    )
    before = await system.snapshot(*foreign)
    async with client_of(system, "ann") as client:
        absent = await answers(client, system.harness.absent_id)
        for session_id in foreign:
            assert await answers(client, session_id) == absent
    assert await system.snapshot(*foreign) == before


@pytest.mark.owes(Capability.LIST_SESSIONS)
async def test_answers_do_not_change_when_other_users_create_sessions(system: System) -> None:
    await system.seed(*(Seed(user_id="ann", name=f"weather {number}", runs=WEATHER) for number in range(2)))
    async with client_of(system, "ann") as client:
        alone = await overview(client, system)
        await system.seed(
            *(Seed(user_id="ben", name=f"weather of {number}", runs=WEATHER) for number in range(3)),
            *(
                [Seed(user_id="ben", archived=True)]
                if Capability.ARCHIVE_SESSION in system.harness.capabilities
                else []
            ),
        )
        assert await overview(client, system) == alone


@pytest.mark.owes(Capability.GET_SESSION)
async def test_every_tool_works_on_a_callers_own_session(system: System) -> None:
    own = await system.seed_one(Seed(user_id="ann", name="Mine", runs=WEATHER))
    async with client_of(system, "ann") as client:
        assert not (await said(client, "get_session", {"session_id": own}))[0]
        assert not (await said(client, "get_session_history", {"session_id": own}))[0]
        assert (await overview(client, system))["resources"] == [f"session://{quote(own, safe='')}"]
        assert (await client.complete(TEMPLATE, {"name": "session_id", "value": own})).completion.values == [own]
        assert "not_found" not in await read(client, f"session://{quote(own, safe='')}/transcript")
